"""Carries a core on real sockets: waits, calls it, and does what it says, in the order it says it.

Three kinds of waiting end in the core: datagrams, streams, and time. What the core returns goes through one
queue; one task carries it out, handing everything that is not a datagram or a stream to the host, and waiting
for the host, before what stands behind it in the queue leaves this node. No decision of the domain is made
here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

import trio

from swarm.address import Address
from swarm.discovery.reach import Reach
from swarm.effects import CarryTunnel, CloseTunnel, OpenStream, OpenTunnel, Refused, SendDatagram
from swarm.errors import Reason, RefusedError, UnavailableError
from swarm.shell import streams
from swarm.shell.contacts import PAUSE_MAX_S, PAUSE_MIN_S, is_literal, look_up
from swarm.shell.groups import Groups, Way
from swarm.shell.guests import Guest, made_room
from swarm.shell.settings import ShellSettings
from swarm.shell.sliced import Sliced
from swarm.shell.sockets import Sockets, local_host, normal
from swarm.shell.traffic import Traffic
from swarm.shell.tunnels import Tunnels
from swarm.slices import MARK

RECEIVE_BYTES = 2048
"""More than any datagram of ours: a longer one is cut, and refused."""
LOOK_AGAIN_S = 10.0
"""Between looks at this machine's interfaces: a Pi often starts before its network does, and cables are pulled. A look is two
system calls for each interface."""
PAUSE_LEAST_S = 0.001
ACCEPT_PAUSE_S = 0.1
"""After the system ran out of file descriptors or memory."""

Handler = Callable[[list[Any]], Awaitable[None]]
ContactsSink = Callable[[Sequence[Address], float], Iterable[Any]]
LanSink = Callable[[float], Iterable[Any]]


class Core(Protocol):
    """What the shell needs: `SwarmCore`, or a node's core that wraps it and returns effects of its own
    besides."""

    def on_datagram(
        self,
        data: bytes,
        source: Address,
        now_s: float,
        *,
        multicast: bool = False,
        tunnelled: bool = False,
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
        lan_came: told when there is another interface to beacon on.
        reach: told whom this node spoke to, and when a stranger came through.
        knows: whether a peer is known at an address; only those are served by datagrams what others get by stream.
    """

    def __init__(
        self,
        core: Core,
        handler: Handler,
        sockets: Sockets,
        *,
        clock: Callable[[], float] = trio.current_time,
        set_contacts: ContactsSink | None = None,
        lan_came: LanSink = lambda _now_s: (),
        reach: Reach | None = None,
        knows: Callable[[Address], bool] = lambda _address: False,
    ) -> None:
        self.traffic = Traffic()
        self._core = core
        self._handler = handler
        self._sockets = sockets
        self._settings: ShellSettings = sockets.settings
        self._clock = clock
        self._set_contacts = set_contacts
        self._lan_came = lan_came
        self._reach = reach or Reach()
        self._knows = knows
        self._sliced = Sliced(self._send_to, clock)
        self._tunnels = Tunnels(partial(self._received, tunnelled=True), knows, self.traffic)
        self._effects: deque[Any] = deque()
        self._work = trio.Event()
        self._room = trio.Event()
        self._planned_s = float("inf")
        self._replan = trio.Event()
        self._asking = trio.CapacityLimiter(self._settings.asking_max)
        self._guests: dict[Guest, None] = {}

    @property
    def beaconed_on(self) -> str:
        """For people: the interfaces on which beacons are sent and heard now; "" for none."""
        return self._sockets.groups.words() if self._sockets.groups is not None else ""

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
                if self._sockets.groups is not None:
                    nursery.start_soon(self._keep_groups, self._sockets.groups, nursery)
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
            if not isinstance(effect, SendDatagram | OpenStream | OpenTunnel | CloseTunnel):
                for_host.append(effect)
                continue
            if for_host:
                batch, for_host = for_host, []
                await self._handler(batch)
            if isinstance(effect, SendDatagram):
                await self._send(effect)
            elif isinstance(effect, OpenTunnel):
                nursery.start_soon(self._tunnels.dial, effect)
            elif isinstance(effect, CloseTunnel):
                self._tunnels.close(effect.peer)
            else:
                nursery.start_soon(self._ask, effect)
        if for_host:
            await self._handler(for_host)

    async def _send(self, effect: SendDatagram) -> None:
        if effect.destination is not None:
            await self._send_to(effect.data, effect.destination, plain=effect.plain)
        elif self._sockets.groups is not None:
            for way in self._sockets.groups.ways:
                await self._send_by(way, effect.data)

    async def _send_by(self, way: Way, data: bytes) -> None:
        try:
            await self._sockets.udp.sendmsg([data], way.ancillary, 0, way.destination)
        except OSError:
            return  # this interface went, or has no address at the moment; the others are tried all the same
        self.traffic.datagram_sent(len(data), way.host)

    async def _send_to(self, data: bytes, destination: Address, *, plain: bool = False) -> None:
        if not plain and self._tunnels.send(data, destination):
            return
        self._reach.spoke_to(destination.host)  # first: the answer may be here before this task goes on
        try:
            await self._sockets.udp.sendto(data, self._sockets.resolved(destination))
        except OSError:
            return  # as if it were lost on the way, which the core expects of datagrams
        self.traffic.datagram_sent(len(data), destination.host)

    async def _ask(self, effect: OpenStream) -> None:
        try:
            async with self._asking:
                self.traffic.stream_opened()
                reply = await self._reply_to(effect)
        except (RefusedError, UnavailableError) as error:
            if isinstance(error, RefusedError):
                self.submit([Refused("stream", str(error), str(effect.peer), error.reason)])
            self.submit(self._core.on_stream_failed(effect.token, str(error), self._clock()))
            return
        self.traffic.stream_bytes_sent += len(effect.request)
        self.traffic.stream_bytes_received += len(reply)
        self.submit(self._core.on_stream_reply(effect.token, reply, self._clock()))

    async def _reply_to(self, effect: OpenStream) -> bytes:
        by_stream = partial(streams.ask, effect.peer, effect.request, effect.timeout_s)
        if effect.datagrams_to is None:
            return await by_stream()
        return await self._sliced.race(by_stream, effect.datagrams_to, effect.request, effect.timeout_s)

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

    async def _keep_groups(self, groups: Groups, nursery: trio.Nursery) -> None:
        heard: set[trio.socket.SocketType] = set()
        while True:
            for sock in set(groups.sockets.values()) - heard:
                heard.add(sock)
                nursery.start_soon(self._receive, sock, True)
            await trio.sleep(LOOK_AGAIN_S)
            try:
                come = groups.look()
            except OSError:
                continue  # out of descriptors; beacons go on where they went
            if come:
                self.submit(self._lan_came(self._clock()))

    async def _receive(self, sock: trio.socket.SocketType, multicast: bool) -> None:
        while True:
            try:
                data, raw = await sock.recvfrom(RECEIVE_BYTES)
            except ConnectionError:
                continue  # an earlier datagram was rejected by its destination
            source = normal(raw)
            self.traffic.datagram_received(len(data), source.host, multicast=multicast)
            if not multicast and self._reach.is_stranger(source.host, self._clock()):
                self._reach.stranger_came(source.host, local_host(source.host), self._clock())
            await self._received(data, source, multicast=multicast)

    async def _received(
        self, data: bytes, source: Address, *, multicast: bool = False, tunnelled: bool = False
    ) -> None:
        """A datagram came; waits while there is too much to do already."""
        if data[:1] == MARK and not multicast:
            await self._take_slices(data, source)
        else:
            now_s = self._clock()
            self.submit(self._core.on_datagram(data, source, now_s, multicast=multicast, tunnelled=tunnelled))
        while len(self._effects) > self._settings.effects_max:
            self._room = trio.Event()
            await self._room.wait()

    async def _take_slices(self, data: bytes, source: Address) -> None:
        try:
            self.submit(await self._sliced.received(data, source, self._answer, known=self._knows(source)))
        except RefusedError as error:
            self.submit([Refused("datagram", str(error), str(source), error.reason)])

    def _answer(self, request: bytes, source: Address) -> tuple[bytes, Sequence[Any]]:
        """By slices: no stream is here that could become a tunnel."""
        reply, effects = self._core.answer(request, source, self._clock())
        return reply, [effect for effect in effects if not isinstance(effect, CarryTunnel)]

    # ------------------------------------------------------------------ streams

    async def _serve(self, nursery: trio.Nursery) -> None:
        while True:
            try:
                sock, raw = await self._sockets.tcp.accept()
            except OSError:
                await trio.sleep(ACCEPT_PAUSE_S)  # out of descriptors, or gone before we came
                continue
            guest = Guest(normal(raw))
            host = guest.source.host
            most, per_host = self._settings.connections_max, self._settings.connections_per_host_max
            if not made_room(self._guests, host, most, per_host):
                sock.close()
                self.submit([Refused("stream", "too many connections at once", host, Reason.CROWDED)])
                continue
            self._guests[guest] = None
            nursery.start_soon(self._serve_one, trio.SocketStream(sock), guest)

    async def _serve_one(self, stream: trio.SocketStream, guest: Guest) -> None:
        source, tunnel = guest.source, False
        try:
            async with stream:
                with guest.scope, trio.fail_after(self._settings.serve_deadline_s):
                    tunnel = await self._exchange(stream, guest)
                if tunnel:
                    del self._guests[guest]
                    await self._tunnels.carry(stream, source)
            if guest.scope.cancelled_caught:
                words = "had not asked anything yet when others came: too many connections at once"
                self.submit([Refused("stream", words, source.host, Reason.CROWDED)])
        except trio.TooSlowError:
            words = "too slow: cut off at the deadline"
            self.submit([Refused("stream", words, str(source), Reason.TOO_SLOW)])
        except (RefusedError, UnavailableError) as error:
            reason = error.reason if isinstance(error, RefusedError) else Reason.OTHER
            self.submit([Refused("stream", str(error), str(source), reason)])
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # the peer went away; it will ask again
        finally:
            self._guests.pop(guest, None)

    async def _exchange(self, stream: trio.SocketStream, guest: Guest) -> bool:
        """Answer one request; True if the stream is a tunnel from now on."""
        self.traffic.stream_served()
        request = await streams.read_frame(stream)
        guest.asked = True
        self.traffic.stream_bytes_received += len(request)
        reply, effects = self._core.answer(request, guest.source, self._clock())
        if any(isinstance(effect, CarryTunnel) for effect in effects):
            return True
        self.submit(effects)
        if reply:
            await streams.write_frame(stream, reply)
            self.traffic.stream_bytes_sent += len(reply)
        return False
