"""Datagrams in streams, for nodes whose datagrams do not get out (`swarm.discovery.shut_in`).

A tunnel is a TCP connection to a peer's control port. It begins with one sealed request, like every stream; from then on each
frame, in both directions, is a datagram, sealed as it would have been anyway. What is lost where the other side does not read
fast enough is lost as datagrams are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from swarm.address import Address
from swarm.effects import OpenTunnel
from swarm.errors import RefusedError, UnavailableError
from swarm.shell.streams import read_frame, write_frame
from swarm.shell.traffic import Traffic
from swarm.wire import DATAGRAM_BYTES_MAX

CARRIED_MAX = 16
"""Tunnels of others that this node carries. Each is a connection and at most 90 KiB of what waits in it. Fewer: shut-in nodes ask
another open node; more: more descriptors and memory for whoever likes to come."""
CARRIED_PER_HOST_MAX = 4
"""Of those, from one address: sites behind one translator share it."""
DIALLED_MAX = 12
"""Tunnels of its own. The core wants fewer; this holds whatever it says."""
WAITING_MAX = 64
"""Datagrams that wait in a tunnel whose other side does not read; what comes then is lost."""
IDLE_S = 180.0
"""A tunnel is closed when nothing came for so long: peers that are kept up speak every half minute."""
WRITE_S = 30.0
CONNECT_S = 5.0

Received = Callable[[bytes, Address], Awaitable[None]]
Knows = Callable[[Address], bool]


class Tunnels:
    """Of one node, its own and those of others.

    Args:
        received: takes each datagram that comes out of one.
        knows: whether a peer is known at an address; whoever is none makes way when there are too many.
    """

    def __init__(self, received: Received, knows: Knows, traffic: Traffic) -> None:
        self._received = received
        self._knows = knows
        self._traffic = traffic
        self._lines: dict[Address, trio.MemorySendChannel[bytes]] = {}
        self._carried: dict[Address, trio.CancelScope] = {}
        self._dialled: set[Address] = set()

    def send(self, data: bytes, to: Address) -> bool:
        """Put a datagram into the tunnel to this address; False if there is none."""
        line = self._lines.get(to)
        if line is None:
            return False
        try:
            line.send_nowait(data)
        except trio.WouldBlock:
            return True  # lost, as on a line that is full
        self._traffic.tunnelled_sent(len(data))
        return True

    def close(self, peer: Address) -> None:
        """End the tunnel to this address, if there is one."""
        line = self._lines.pop(peer, None)
        if line is not None:
            line.close()

    async def dial(self, effect: OpenTunnel) -> None:
        """Open one, and carry until it ends. Nothing is raised: whoever is not there, or refuses, is asked again in time."""
        peer = effect.peer
        if peer in self._dialled or len(self._dialled) >= DIALLED_MAX:
            return
        self._dialled.add(peer)
        try:
            with trio.fail_after(CONNECT_S):
                stream = await trio.open_tcp_stream(peer.host, peer.port, happy_eyeballs_delay=CONNECT_S)
            self._traffic.stream_opened()
            await self._carry(stream, peer, effect.request, effect.first)
        except (OSError, trio.TooSlowError):
            return
        finally:
            self._dialled.discard(peer)

    async def carry(self, stream: trio.abc.Stream, peer: Address) -> None:
        """Carry the tunnel that `peer` has opened, until it ends.

        Raises:
            UnavailableError: there are too many.
        """
        scope = trio.CancelScope()
        if not self._made_room(peer.host):
            raise UnavailableError("too many tunnels at once")
        self._carried[peer] = scope
        try:
            with scope:
                await self._carry(stream, peer)
        finally:
            if self._carried.get(peer) is scope:
                del self._carried[peer]

    def _made_room(self, host: str) -> bool:
        from_there = [peer for peer in self._carried if peer.host == host]
        among = from_there if len(from_there) >= CARRIED_PER_HOST_MAX else list(self._carried)
        if among is not from_there and len(among) < CARRIED_MAX:
            return True
        leaves = next((peer for peer in among if not self._knows(peer)), None)
        if leaves is None:
            return False
        self._carried.pop(leaves).cancel()
        return True

    async def _carry(self, stream: trio.abc.Stream, peer: Address, *first: bytes) -> None:
        """`first`: frames that go before all others."""
        line, waiting = trio.open_memory_channel[bytes](WAITING_MAX)
        for frame in first:
            line.send_nowait(frame)
            self._traffic.tunnelled_sent(len(frame))
        self._lines[peer] = line
        try:
            async with stream, trio.open_nursery() as nursery:
                nursery.start_soon(self._write, stream, waiting, nursery.cancel_scope)
                await self._read(stream, peer)
                nursery.cancel_scope.cancel()
        finally:
            if self._lines.get(peer) is line:
                del self._lines[peer]

    async def _write(
        self, stream: trio.abc.SendStream, waiting: trio.MemoryReceiveChannel[bytes], over: trio.CancelScope
    ) -> None:
        async for data in waiting:
            with trio.move_on_after(WRITE_S) as patience:
                try:
                    await write_frame(stream, data)
                except trio.BrokenResourceError:
                    over.cancel()
            if patience.cancelled_caught:
                over.cancel()
        over.cancel()

    async def _read(self, stream: trio.abc.ReceiveStream, peer: Address) -> None:
        while True:
            with trio.move_on_after(IDLE_S):
                try:
                    data = await read_frame(stream, DATAGRAM_BYTES_MAX)
                except (RefusedError, UnavailableError, trio.BrokenResourceError):
                    return
                self._traffic.tunnelled_received(len(data))
                await self._received(data, peer)
                continue
            return
