"""Real shells on loopback: they find each other, serve each other, and outlive those who behave badly. Real time passes."""

from __future__ import annotations

import hashlib
import random
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from swarm.address import Address
from swarm.core import SwarmSettings
from swarm.effects import BlobFetched, OpenStream, RecordAccepted, Refused, SendDatagram
from swarm.envelope import Envelope
from swarm.shell import ShellSettings, SwarmShell, open_sockets
from swarm.shell.sockets import normal
from swarm.shell.streams import read_frame, write_frame
from swarm.wire import Chunk, Get
from tests.swarm.core.village import KEYRING, manifest
from tests.swarm.shell.hamlet import Home, free_udp_port, loopback, settle, until

ENVELOPE = Envelope(KEYRING, random.Random(1))


def run(body: Callable[[trio.Nursery], Awaitable[None]]) -> None:
    """Run a test body with a nursery for its shells, which end with it."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await body(nursery)
            nursery.cancel_scope.cancel()

    trio.run(main)


def has(home: Home, sequence: int) -> bool:
    entry = home.store.get("manifest", b"stable")
    return entry is not None and entry.sequence == sequence


def test_five_find_each_other_by_multicast_and_share_news() -> None:
    """Nodes on a LAN would need somebody to tell them of each other."""

    async def body(nursery: trio.Nursery) -> None:
        settings = loopback(beacon=True, beacon_port=free_udp_port())
        homes = [await settle(nursery, number, settings) for number in range(5)]
        await until(lambda: all(len(home.core.peers()) == 4 for home in homes))
        assert all(peer.same_site for home in homes for peer in home.core.peers())
        assert {peer.address for peer in homes[0].core.peers()} == {home.address for home in homes[1:]}
        homes[0].publish(manifest(1))
        await until(lambda: all(has(home, 1) for home in homes))
        large = manifest(2, bytes(3000))
        homes[4].publish(large)
        await until(lambda: all(has(home, 2) for home in homes))
        late = await settle(nursery, 5, settings)
        await until(lambda: bool(late.said(RecordAccepted)))
        assert [effect.record for effect in late.said(RecordAccepted)] == [large]

    run(body)


def test_contacts_are_found_by_name_and_address() -> None:
    """Nodes at different sites would never meet."""

    async def body(nursery: trio.Nursery) -> None:
        first = await settle(nursery, 0, loopback())
        by_name = await settle(nursery, 1, loopback(contacts=(f"localhost:{first.address.port}",)))
        by_address = await settle(nursery, 2, loopback(contacts=(str(first.address),)))
        first.publish(manifest(1))
        await until(lambda: has(by_name, 1) and has(by_address, 1))
        blob = random.Random(1).randbytes(200_000)
        blob_id = hashlib.sha256(blob).digest()
        first.blobs["torrent", blob_id] = blob
        by_name.shell.submit(
            by_name.core.fetch_blob("torrent", blob_id, len(blob), bytes(32), trio.current_time())
        )
        await until(lambda: by_name.said(BlobFetched) == [BlobFetched("torrent", blob_id, blob)])

    run(body)


def test_one_socket_serves_both_ip_versions() -> None:
    """A peer would be known twice, or told under an address nobody can use."""

    async def body(nursery: trio.Nursery) -> None:
        both = await settle(nursery, 0, loopback(bind="::"))
        port = both.address.port
        four = await settle(nursery, 1, loopback(contacts=(f"127.0.0.1:{port}",)))
        six = await settle(nursery, 2, loopback(bind="::1", contacts=(f"[::1]:{port}",)))
        both.publish(manifest(1))
        await until(lambda: has(four, 1) and has(six, 1))
        assert {four.address, six.address} == {peer.address for peer in both.core.peers()}

    run(body)


def test_what_the_host_must_keep_is_kept_before_it_is_passed_on() -> None:
    """A node could tell others of news that it has itself forgotten after a power cut."""

    async def body(nursery: trio.Nursery) -> None:
        teller = await settle(nursery, 0, loopback())
        hearer = await settle(nursery, 1, loopback(contacts=(str(teller.address),)))
        await until(lambda: len(teller.core.peers()) == 1 and len(hearer.core.peers()) == 1)
        await until(lambda: teller.effects != [])
        on_disk = trio.Event()
        teller.before_handling = on_disk.wait
        await trio.testing.wait_all_tasks_blocked(0.05)  # what was queued before has left
        sent = teller.shell.traffic.datagrams_sent
        teller.publish(manifest(1))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert teller.shell.traffic.datagrams_sent == sent
        assert not has(hearer, 1)
        on_disk.set()
        await until(lambda: has(hearer, 1))

    run(body)


async def dial(home: Home) -> trio.SocketStream:
    return await trio.open_tcp_stream(home.address.host, home.address.port)


async def get(home: Home) -> Any:
    """What a well-behaved peer gets for an honest question."""
    async with await dial(home) as stream:
        exchange_id, frame = ENVELOPE.seal_request(Get("torrent", bytes(32), 0, 5))
        await write_frame(stream, frame)
        return ENVELOPE.open_reply(exchange_id, await read_frame(stream))


def test_slow_silent_and_garbled_askers_are_cut_off_while_others_are_served() -> None:
    """One peer with one byte a second could keep a node from serving everybody else."""

    async def body(nursery: trio.Nursery) -> None:
        home = await settle(nursery, 0, loopback(serve_deadline_s=0.3))
        home.blobs["torrent", bytes(32)] = b"blob"

        cut_off = trio.Event()

        async def drip(stream: trio.SocketStream) -> None:
            try:
                for byte in (1000).to_bytes(4, "big") + bytes(1000):
                    await stream.send_all(bytes([byte]))
                    await trio.sleep(0.02)
            except trio.BrokenResourceError:
                cut_off.set()

        silent = await dial(home)
        nursery.start_soon(drip, await dial(home))
        async with await dial(home) as garbled:
            await write_frame(garbled, b"garbage")
            assert await garbled.receive_some(10) == b""
        async with await dial(home) as greedy:
            await greedy.send_all(b"\xff\xff\xff\xff")
            assert await greedy.receive_some(10) == b""
        assert await get(home) == Chunk(4, b"blob")
        with trio.fail_after(60):
            assert await silent.receive_some(10) == b""
        await until(cut_off.is_set)
        await until(lambda: len(home.said(Refused)) >= 4)
        words = {effect.why for effect in home.said(Refused)}
        assert {
            "too slow: cut off at the deadline",
            "too short to be sealed",
            "the length of a stream frame is out of bounds",
        } <= words
        assert await get(home) == Chunk(4, b"blob")

    run(body)


def test_a_neighbour_is_served_while_somebody_holds_all_connections() -> None:
    """Whoever can connect, a stranger too, could keep a release from everybody who comes to fetch it here."""

    async def body(nursery: trio.Nursery) -> None:
        settings = loopback(connections_max=4, connections_per_host_max=4, serve_deadline_s=600.0)
        home = await settle(nursery, 0, settings)
        home.blobs["torrent", bytes(32)] = b"blob"
        held = [await dial(home) for _ in range(4)]
        await until(lambda: home.shell.traffic.streams_served == 4)
        with trio.fail_after(60):
            # From the same address, as behind a NAT.
            assert [await get(home) for _ in range(8)] == [Chunk(4, b"blob")] * 8
            assert await held[0].receive_some(1) == b"", "the first that was silent has made way"
        assert {effect.why for effect in home.said(Refused)} == {
            "had not asked anything yet when others came: too many connections at once"
        }

    run(body)


def test_whoever_has_asked_keeps_the_connection() -> None:
    """A crowd of newcomers would cut off those who are being answered."""

    async def body(nursery: trio.Nursery) -> None:
        settings = loopback(connections_max=2, connections_per_host_max=2, serve_deadline_s=600.0)
        home = await settle(nursery, 0, settings)
        home.blobs["torrent", bytes(32)] = bytes(65536)
        asked = []
        for _ in range(2):
            stream = await dial(home)
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            _, frame = ENVELOPE.seal_request(Get("torrent", bytes(32), 0, 65536))
            await write_frame(stream, frame)
            asked.append(stream)
        await until(lambda: home.shell.traffic.streams_served == 2)
        with trio.fail_after(60):
            async with await dial(home) as third:
                # Answered by then, or one of two who wait for their answer to be taken: nobody is cut off for a newcomer.
                await write_frame(third, ENVELOPE.seal_request(Get("torrent", bytes(32), 0, 5))[1])
            for stream in asked:
                assert len(await read_frame(stream)) > 65536

    run(body)


@pytest.mark.parametrize("manner", ["silent", "closes", "garbage", "nobody"])
def test_bad_answerers_end_in_words(manner: str) -> None:
    """A peer that never answers would leave a question open for ever."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            if manner == "garbage":
                await stream.send_all(b"\xff" * 100)
            if manner != "closes":
                await trio.sleep_forever()

    async def body(nursery: trio.Nursery) -> None:
        home = await settle(nursery, 0, loopback())
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        if manner == "nobody":
            await listeners[0].aclose()
        else:
            nursery.start_soon(trio.serve_listeners, serve, listeners)
        failed: list[str] = []
        home.core.on_stream_failed = lambda token, why, now_s: failed.append(why) or []  # type: ignore
        home.shell.submit([OpenStream(7, Address("127.0.0.1", port), b"question", 0.2)])
        await until(lambda: len(failed) == 1)
        assert failed[0] != ""
        # A peer that is gone is no offence; one that takes the question and gives no answer is told of.
        blamed = {"silent": "too slow: no whole answer", "garbage": "the length of a stream frame"}.get(
            manner
        )
        refused = [effect.why for effect in home.said(Refused)]
        assert len(refused) == (blamed is not None)
        assert all(blamed is not None and why.startswith(blamed) for why in refused)

    run(body)


def test_garbage_datagrams_are_counted_and_good_ones_still_heard() -> None:
    """A stranger's datagrams could deafen a node."""

    async def body(nursery: trio.Nursery) -> None:
        home = await settle(nursery, 0, loopback(effects_max=20))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for number in range(200):
                stranger.sendto(bytes(number * 10), ("127.0.0.1", home.address.port))
        await until(lambda: len(home.said(Refused)) >= 50)
        friend = await settle(nursery, 1, loopback(contacts=(str(home.address),)))
        await until(lambda: len(home.core.peers()) == 1 and len(friend.core.peers()) == 1)

    run(body)


def test_a_full_queue_stops_the_reading() -> None:
    """A flood of datagrams could fill a small Pi's memory while its card is slow."""

    async def body(nursery: trio.Nursery) -> None:
        home = await settle(nursery, 0, loopback(effects_max=20))
        slow_card = trio.Event()
        home.before_handling = slow_card.wait
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(100):
                stranger.sendto(b"x", ("127.0.0.1", home.address.port))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert home.shell.traffic.datagrams_received <= 30
        slow_card.set()
        await until(lambda: home.shell.traffic.datagrams_received == 100)

    run(body)


def test_unreachable_destinations_are_no_error() -> None:
    """A peer that told of an address this node cannot reach would stop it."""

    async def body(nursery: trio.Nursery) -> None:
        home = await settle(nursery, 0, loopback())
        nowhere = [Address("fd00::1", 5), Address("255.255.255.255", 5), Address("127.0.0.1", 9)]
        home.shell.submit([SendDatagram(address, b"x") for address in nowhere])
        friend = await settle(nursery, 1, loopback(contacts=(str(home.address),)))
        await until(lambda: len(friend.core.peers()) == 1)

    run(body)


def test_a_port_in_use_is_named() -> None:
    """An owner with two daemons on one port would have to guess."""

    async def main() -> None:
        first = await open_sockets(loopback())
        try:
            with pytest.raises(OSError, match=rf"cannot listen on TCP 127\.0\.0\.1:{first.port}"):
                await open_sockets(loopback(port=first.port))
        finally:
            first.close()

    trio.run(main)


def test_a_beacon_without_network_is_waited_for() -> None:
    """A Pi whose network comes up after the daemon would never hear its neighbours."""

    async def main() -> None:
        settings = loopback(beacon=True, beacon_interfaces=("192.0.2.99",), beacon_port=free_udp_port())
        sockets = await open_sockets(settings)
        assert sockets.groups is not None
        assert not sockets.groups.look()
        assert sockets.groups.ways == ()
        sockets.close()

    trio.run(main)


class Clockwork:
    """A core that only wants to be woken, at given times."""

    def __init__(self, times: list[float]) -> None:
        self.times = times
        self.woken: list[float] = []

    def on_datagram(self, *_args: Any, **_options: Any) -> list[Any]:
        return []

    def on_stream_reply(self, *_args: Any) -> list[Any]:
        return []

    def on_stream_failed(self, *_args: Any) -> list[Any]:
        return []

    def answer(self, *_args: Any) -> tuple[bytes, list[Any]]:
        return b"", []

    def next_wakeup_s(self) -> float:
        return self.times[0] if self.times else float("inf")

    def on_wakeup(self, now_s: float) -> list[Any]:
        self.woken.append(now_s)
        self.times = [time_s for time_s in self.times if time_s > now_s]
        return []


def test_wakes_exactly_when_asked() -> None:
    """A node would poll and keep its processor warm, or sleep through what is due."""
    core = Clockwork([10.0, 20.0, 3600.0])

    async def ignore(_effects: list[Any]) -> None:
        return

    async def body(nursery: trio.Nursery) -> None:
        shell = SwarmShell(core, ignore, await open_sockets(loopback()))
        await nursery.start(shell.run)
        await trio.sleep(15.0)
        core.times = [17.0, *core.times]
        shell.submit([])
        await trio.sleep(4000.0)
        assert core.woken == [10.0, 17.0, 20.0, 3600.0]
        nursery.cancel_scope.cancel()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await body(nursery)

    clock = trio.testing.MockClock(autojump_threshold=0.01)
    clock.jump(0.0)
    trio.run(main, clock=clock)


def test_traffic_counts_headers() -> None:
    """The bench would call a node quiet that is not."""

    async def body(nursery: trio.Nursery) -> None:
        teller = await settle(nursery, 0, loopback(), SwarmSettings(beacon=False))
        hearer = await settle(nursery, 1, loopback(contacts=(str(teller.address),)))
        await until(lambda: len(teller.core.peers()) == 1 and len(hearer.core.peers()) == 1)
        traffic = teller.shell.traffic
        await until(lambda: traffic.datagrams_sent == hearer.shell.traffic.datagrams_received)
        assert traffic.sent_bytes == hearer.shell.traffic.received_bytes
        assert traffic.sent_bytes >= 28 * traffic.datagrams_sent + 100

    run(body)


def test_addresses_look_the_same_on_every_socket() -> None:
    """One peer would count as two."""
    assert normal(("::ffff:192.0.2.1", 5, 0, 0)) == Address("192.0.2.1", 5)
    assert normal(("fd00::1", 5, 0, 0)) == Address("fd00::1", 5)
    assert normal(("192.0.2.1", 5)) == Address("192.0.2.1", 5)
    assert ShellSettings().port == 47101
