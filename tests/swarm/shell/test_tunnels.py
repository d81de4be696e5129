"""Tunnels between real shells on loopback, where datagrams from one of them are lost. Real time passes."""

from __future__ import annotations

import hashlib
import random

import pytest
import trio
import trio.testing

from swarm.address import Address
from swarm.effects import BlobFetched, OpenTunnel
from swarm.envelope import Envelope
from swarm.seal import Keyring
from swarm.shell import tunnels
from swarm.shell.streams import read_frame, write_frame
from swarm.shell.traffic import Traffic
from swarm.shell.tunnels import CARRIED_MAX, CARRIED_PER_HOST_MAX, WAITING_MAX, Tunnels
from swarm.wire import Tunnel
from tests.swarm.core.village import KEYRING, manifest
from tests.swarm.shell.hamlet import Home, loopback, settle, until
from tests.swarm.shell.test_shell import has, run

ENVELOPE = Envelope(KEYRING, random.Random(2))
TORRENT = random.Random(3).randbytes(100_000)


class Deaf:
    """The UDP socket of a node whose firewall keeps datagrams in: what is sent is gone."""

    def __init__(self, real: trio.socket.SocketType) -> None:
        self._real = real

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    async def sendto(self, data: bytes, _to: object) -> int:
        await trio.lowlevel.checkpoint()
        return len(data)


async def shut_in(nursery: trio.Nursery, number: int, contact: Home) -> Home:
    home = await settle(nursery, number, loopback(contacts=(str(contact.address),)))
    home.shell._sockets.udp = Deaf(home.shell._sockets.udp)  # type: ignore[assignment]
    return home


def test_news_and_blobs_pass_though_no_datagram_gets_out() -> None:
    """A node in a strict network would never hear of a release."""

    async def body(nursery: trio.Nursery) -> None:
        opened = await settle(nursery, 0, loopback())
        inside = await shut_in(nursery, 1, opened)
        await until(lambda: len(inside.core.peers()) == 1 and len(opened.core.peers()) == 1)
        opened.publish(manifest(1))
        await until(lambda: has(inside, 1))
        inside.publish(manifest(2))
        await until(lambda: has(opened, 2))
        assert inside.core.shut_in(trio.current_time())
        assert not opened.core.shut_in(trio.current_time())
        # What the one inside holds comes to the open node, which cannot connect to it, in slices through the tunnel.
        blob_id = hashlib.sha256(TORRENT).digest()
        inside.blobs["torrent", blob_id] = TORRENT
        opened.shell.submit(
            opened.core.fetch_blob("torrent", blob_id, len(TORRENT), bytes(32), trio.current_time())
        )
        await until(lambda: opened.said(BlobFetched) == [BlobFetched("torrent", blob_id, TORRENT)])

    run(body)


def test_a_stranger_gets_no_tunnel() -> None:
    """Anybody could have an open node hold streams for him."""

    async def body(nursery: trio.Nursery) -> None:
        opened = await settle(nursery, 0, loopback())
        stranger = Envelope(Keyring((bytes(32),)), random.Random(4))
        for frame in (b"x" * 100, stranger.seal_request(Tunnel())[1]):
            stream = await trio.open_tcp_stream(opened.address.host, opened.address.port)
            await write_frame(stream, frame)
            with trio.fail_after(5):
                assert await stream.receive_some(10) == b""

    run(body)


def test_strangers_do_not_keep_members_out() -> None:
    """Whoever recorded one request could hold all tunnels of an open node with it."""

    async def body(nursery: trio.Nursery) -> None:
        known: set[Address] = set()
        held = Tunnels(_ignored, known.__contains__, Traffic())
        ends: list[int] = []

        async def hold(number: int, host: str) -> None:
            here, _ = trio.testing.memory_stream_pair()
            await held.carry(here, Address(host, number))
            ends.append(number)

        for number in range(CARRIED_PER_HOST_MAX + 2):
            nursery.start_soon(hold, number + 1, "192.0.2.1")
            await until(lambda: held.send(b"?", Address("192.0.2.1", number + 1)))  # noqa: B023  called at once
        await until(lambda: sorted(ends) == [1, 2])
        for number in range(CARRIED_MAX):
            nursery.start_soon(hold, 100 + number, f"198.51.100.{number}")
            await until(lambda: held.send(b"?", Address(f"198.51.100.{number}", 100 + number)))  # noqa: B023  called at once
        await until(lambda: len(ends) == 2 + CARRIED_PER_HOST_MAX)
        # Where all are members, nobody makes way.
        known |= {Address(f"198.51.100.{number}", 100 + number) for number in range(CARRIED_MAX)}
        with pytest.raises(tunnels.UnavailableError, match="too many tunnels"):
            await held.carry(trio.testing.memory_stream_pair()[0], Address("203.0.113.1", 1))

    run(body)


async def _ignored(_data: bytes, _source: Address) -> None:
    await trio.lowlevel.checkpoint()


def test_a_peer_that_does_not_read_costs_what_it_does_not_get() -> None:
    """One slow member would fill an open node's memory."""

    async def body(nursery: trio.Nursery) -> None:
        peer = Address("192.0.2.1", 1)
        held = Tunnels(_ignored, lambda _address: True, Traffic())
        here, there = trio.testing.lockstep_stream_pair()  # nothing is taken before somebody reads
        nursery.start_soon(held.carry, here, peer)
        await until(lambda: held.send(b"0", peer))
        await trio.testing.wait_all_tasks_blocked()
        for number in range(3 * WAITING_MAX):
            assert held.send(b"%d" % number, peer)
        came = [await read_frame(there) for _ in range(WAITING_MAX + 1)]
        assert came[0] == b"0"
        held.send(b"later", peer)
        assert await read_frame(there) == b"later"
        held.close(peer)
        with pytest.raises(tunnels.UnavailableError):
            await read_frame(there)
        assert not held.send(b"gone", peer)

    run(body)


def test_a_frame_that_is_no_datagram_ends_the_tunnel() -> None:
    """A member could have an open node read without end, or hold a tunnel that nothing comes through."""

    async def main() -> None:
        for last in (b"\xff\xff\xff\xff", b"\0\0\0\0", b""):
            here, there = trio.testing.memory_stream_pair()
            held = Tunnels(_ignored, lambda _address: True, Traffic())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(held.carry, here, Address("192.0.2.1", 1))
                await there.send_all(last)
                before_s = trio.current_time()
            assert (trio.current_time() - before_s) == (tunnels.IDLE_S if not last else 0.0)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_an_open_tunnel_is_not_dialled_again() -> None:
    """Every knock would cost one more stream."""

    async def body(nursery: trio.Nursery) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        came: list[trio.SocketStream] = []

        async def take(stream: trio.SocketStream) -> None:
            came.append(stream)
            await trio.sleep_forever()

        nursery.start_soon(trio.serve_listeners, take, listeners)
        peer = Address("127.0.0.1", listeners[0].socket.getsockname()[1])
        held = Tunnels(_ignored, lambda _address: True, Traffic())
        effect = OpenTunnel(peer, ENVELOPE.seal_request(Tunnel())[1], b"first")
        nursery.start_soon(held.dial, effect)
        await until(lambda: held.send(b"second", peer))
        await held.dial(effect)
        assert len(came) == 1
        assert await read_frame(came[0]) == effect.request
        assert [await read_frame(came[0]), await read_frame(came[0])] == [b"first", b"second"]

    run(body)
