"""Carries a core on real sockets: waits, calls it, and does what it says, in the order it says it.

Three kinds of waiting end in the core: datagrams, streams, and time. What the core returns goes through one
queue; one task carries it out, handing everything that is not a datagram or a stream to the host, and waiting
for the host, before what stands behind it in the queue leaves this node. No decision of the domain is made
here.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

import trio

from swarm.address import Address
from swarm.effects import OpenStream, Refused, SendDatagram
from swarm.errors import RefusedError, UnavailableError
from swarm.shell import streams
from swarm.shell.contacts import PAUSE_MAX_S, PAUSE_MIN_S, is_literal, look_up
from swarm.shell.settings import ShellSettings
from swarm.shell.sockets import Sockets, beacon_destination, normal
from swarm.shell.traffic import Traffic

RECEIVE_BYTES = 2048
"""More than any datagram of ours: a longer one is cut, and refused."""
JOIN_AGAIN_S = 10.0
"""While the beacon group cannot be joined: a Pi often starts before its network does."""
PAUSE_LEAST_S = 0.001
ACCEPT_PAUSE_S = 0.1
"""After the system ran out of file descriptors or memory."""

Handler = Callable[[list[Any]], Awaitable[None]]
ContactsSink = Callable[[Sequence[Address], float], Iterable[Any]]


class Core(Protocol):
    """What the shell needs: `SwarmCore`, or a node's core that wraps it and returns effects of its own
    besides."""

    def on_datagram(
        self, data: bytes, source: Address, now_s: float, *, multicast: bool = False
    ) -> Sequence[Any]:
        """See `SwarmCore`."""
        ...

    def on_wakeup(self, now_s: float) -> Sequence[Any]:
        """See `SwarmCore`."""
        ...

    def next_wakeup_s(self) -> float:
        """See `SwarmCore`."""
        ...

    def on_stream_reply(self, token: int, reply: bytes, now_s: float) -> Sequence[Any]:
        """See `SwarmCore`."""
        ...

    def on_stream_failed(self, token: int, why: str, now_s: float) -> Sequence[Any]:
        """See `SwarmCore`."""
        ...

    def answer(self, request: bytes, source: Address, now_s: float) -> tuple[bytes, Sequence[Any]]:
        """See `SwarmCore`."""
        ...


class SwarmShell:
    """Runs one core.

    Args:
        core: what decides.
        handler: given the host's effects, in order; what is behind them waits until it returns.
        sockets: from `open_sockets`; closed when `run` ends.
        clock: steady seconds, the same that the host gives the core elsewhere.
        set_contacts: told the addresses of the configured contacts whenever they are looked up.
    """

    def __init__(
        self,
        core: Core,
        handler: Handler,
        sockets: Sockets,
        *,
        clock: Callable[[], float] = trio.current_time,
        set_contacts: ContactsSink | None = None,
    ) -> None:
        self.traffic = Traffic()
        self._core = core
        self._handler = handler
        self._sockets = sockets
        self._settings: ShellSettings = sockets.settings
        self._clock = clock
        self._set_contacts = set_contacts
        self._effects: deque[Any] = deque()
        self._work = trio.Event()
        self._room = trio.Event()
        self._planned_s = float("inf")
        self._replan = trio.Event()
        self._asking = trio.CapacityLimiter(self._settings.asking_max)
        self._served: Counter[str] = Counter()
        self._group_destination = beacon_destination(self._settings)

    def submit(self, effects: Iterable[Any]) -> None:
        """Queue effects that a call to the core returned outside the shell, and look anew when the core wants
        to wake."""
        self._effects.extend(effects)
        if self._effects:
            self._work.set()
        if self._core.next_wakeup_s() < self._planned_s:
            self._replan.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry_out, nursery)
                nursery.start_soon(self._receive, self._sockets.udp, False)
                nursery.start_soon(self._serve, nursery)
                nursery.start_soon(self._keep_time)
                if self._settings.beacon:
                    nursery.start_soon(self._listen_to_group)
                if self._settings.contacts and self._set_contacts is not None:
                    nursery.start_soon(self._keep_contacts, self._set_contacts)
                task_status.started()
        finally:
            self._sockets.close()

    # ------------------------------------------------------------------ effects

    async def _carry_out(self, nursery: trio.Nursery) -> None:
        while True:
            if not self._effects:
                self._work = trio.Event()
                await self._work.wait()
            await self._carry_out_queued(nursery)
            self._room.set()

    async def _carry_out_queued(self, nursery: trio.Nursery) -> None:
        for_host: list[Any] = []
        while self._effects:
            effect = self._effects.popleft()
            if not isinstance(effect, SendDatagram | OpenStream):
                for_host.append(effect)
                continue
            if for_host:
                batch, for_host = for_host, []
                await self._handler(batch)
            if isinstance(effect, SendDatagram):
                await self._send(effect)
            else:
                nursery.start_soon(self._ask, effect)
        if for_host:
            await self._handler(for_host)

    async def _send(self, effect: SendDatagram) -> None:
        destination = effect.destination or self._group_destination
        try:
            await self._sockets.udp.sendto(effect.data, self._sockets.resolved(destination))
        except OSError:
            return  # as if it were lost on the way, which the core expects of datagrams
        self.traffic.datagram_sent(len(effect.data), destination.host)

    async def _ask(self, effect: OpenStream) -> None:
        try:
            async with self._asking:
                self.traffic.stream_opened()
                reply = await streams.ask(effect.peer, effect.request, effect.timeout_s)
        except (RefusedError, UnavailableError) as error:
            if isinstance(error, RefusedError):
                self.submit([Refused("stream", str(error), str(effect.peer))])
            self.submit(self._core.on_stream_failed(effect.token, str(error), self._clock()))
            return
        self.traffic.stream_bytes_sent += len(effect.request)
        self.traffic.stream_bytes_received += len(reply)
        self.submit(self._core.on_stream_reply(effect.token, reply, self._clock()))

    # ------------------------------------------------------------------ time

    async def _keep_time(self) -> None:
        while True:
            self._replan = trio.Event()
            self._planned_s = self._core.next_wakeup_s()
            pause_s = max(PAUSE_LEAST_S, self._planned_s - self._clock())
            with trio.move_on_after(pause_s):
                await self._replan.wait()
                continue
            self._planned_s = float("inf")
            self.submit(self._core.on_wakeup(self._clock()))

    async def _keep_contacts(self, set_contacts: ContactsSink) -> None:
        pause_s = PAUSE_MIN_S
        while True:
            found = [await look_up(contact) for contact in self._settings.contacts]
            self.submit(set_contacts([a for addresses in found for a in addresses], self._clock()))
            if all(is_literal(contact) for contact in self._settings.contacts):
                return
            pause_s = PAUSE_MAX_S if all(found) else min(PAUSE_MAX_S, pause_s * 2)
            await trio.sleep(pause_s)

    # ------------------------------------------------------------------ datagrams

    async def _listen_to_group(self) -> None:
        while self._sockets.group is None:
            await trio.sleep(JOIN_AGAIN_S)
            try:
                self._sockets.join_group()
            except OSError:
                continue  # no network yet; the beacons of others wait as well
        await self._receive(self._sockets.group, True)

    async def _receive(self, sock: trio.socket.SocketType, multicast: bool) -> None:
        while True:
            try:
                data, raw = await sock.recvfrom(RECEIVE_BYTES)
            except ConnectionError:
                continue  # an earlier datagram was rejected by its destination
            source = normal(raw)
            self.traffic.datagram_received(len(data), source.host, multicast=multicast)
            self.submit(self._core.on_datagram(data, source, self._clock(), multicast=multicast))
            while len(self._effects) > self._settings.effects_max:
                self._room = trio.Event()
                await self._room.wait()

    # ------------------------------------------------------------------ streams

    async def _serve(self, nursery: trio.Nursery) -> None:
        while True:
            try:
                sock, raw = await self._sockets.tcp.accept()
            except OSError:
                await trio.sleep(ACCEPT_PAUSE_S)  # out of descriptors, or gone before we came
                continue
            host = normal(raw).host
            full = self._served.total() >= self._settings.connections_max
            if full or self._served[host] >= self._settings.connections_per_host_max:
                sock.close()
                self.submit([Refused("stream", "too many connections at once", host)])
                continue
            self._served[host] += 1
            nursery.start_soon(self._serve_one, trio.SocketStream(sock), normal(raw))

    async def _serve_one(self, stream: trio.SocketStream, source: Address) -> None:
        try:
            with trio.fail_after(self._settings.serve_deadline_s):
                async with stream:
                    await self._exchange(stream, source)
        except trio.TooSlowError:
            self.submit([Refused("stream", "too slow: cut off at the deadline", str(source))])
        except (RefusedError, UnavailableError) as error:
            self.submit([Refused("stream", str(error), str(source))])
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # the peer went away; it will ask again
        finally:
            self._served[source.host] -= 1
            if not self._served[source.host]:
                del self._served[source.host]

    async def _exchange(self, stream: trio.SocketStream, source: Address) -> None:
        self.traffic.stream_served()
        request = await streams.read_frame(stream)
        self.traffic.stream_bytes_received += len(request)
        reply, effects = self._core.answer(request, source, self._clock())
        self.submit(effects)
        if reply:
            await streams.write_frame(stream, reply)
            self.traffic.stream_bytes_sent += len(reply)
