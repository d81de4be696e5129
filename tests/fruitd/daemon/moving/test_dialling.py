"""Whom a node dials plainly for image bytes, and with whom it dials from both sides, on real sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, evolve, field

from fruitd.daemon.moving import dialling
from fruitd.daemon.moving.dialling import Dialling, gets_through, likeliest
from swarm.address import Address
from swarm.discovery.gateway import ranked
from swarm.discovery.peers import PeerInfo
from swarm.effects import DialWanted
from swarm.transfer.port import Source, TransferPeer

INFOHASH = b"i" * 32
HOLDING = INFOHASH[:8]
NOBODY_PORT = 1
"""Nothing listens there on this machine: a connection is refused at once."""


def peer(number: int, port: int, *, host: str = "127.0.0.1", near: bool = False) -> TransferPeer:
    return TransferPeer(bytes([number]) * 20, Address(host, port), same_site=near)


def info(of: TransferPeer, *, able: bool = True, wants: bytes = HOLDING) -> PeerInfo:
    holdings = frozenset({HOLDING})
    control = Address(of.address.host, 47101)
    return PeerInfo(
        of.node_id, "", "there", control, of.address.port, of.same_site, 0.0, holdings, wants, able
    )


@define
class Surroundings:
    """In place of a daemon: what it was told to do."""

    known: list[PeerInfo] = field(factory=list)
    connected: frozenset[bytes] = frozenset()
    sources: list[Source] = field(factory=list)
    offered: list[Sequence[TransferPeer]] = field(factory=list)
    knocked: list[tuple[list[bytes], bool]] = field(factory=list)
    told: list[Address] = field(factory=list)
    now_s: float = 100.0
    shut_in: bool = False

    def daemon(self, nursery: trio.Nursery | None) -> Any:
        transfer = SimpleNamespace(
            port=47102,
            offer_peers=lambda _, peers: self.offered.append(peers),
            knock=lambda _, peers, over_utp: self.knocked.append(([p.node_id for p in peers], over_utp)),
            progress=lambda _: SimpleNamespace(connected=self.connected, sources=self.sources),
        )
        swarm = SimpleNamespace(
            peers=lambda: self.known, say=lambda dial, to: (dial, to), shut_in=lambda now_s: self.shut_in
        )
        return SimpleNamespace(
            transfer=transfer,
            core=SimpleNamespace(swarm=swarm),
            jobs=SimpleNamespace(nursery=nursery, moving=[INFOHASH.hex()]),
            time=SimpleNamespace(now_s=lambda: self.now_s),
            submit=lambda says: self.told.extend(to for _, to in says),
        )

    def go(self, act: Callable[[Dialling], None]) -> None:
        """Act, and wait until everybody who was tried has been."""

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                act(Dialling(self.daemon(nursery)))

        trio.run(main)

    def dialled(self) -> set[bytes]:
        """Whom the transfer was last told to dial plainly."""
        return {each.node_id for each in self.offered[-1] if not each.shut}


@pytest.fixture
def open_port() -> Any:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield listening.getsockname()[1]


def tries(monkeypatch: pytest.MonkeyPatch, *, are_open: bool) -> list[Address]:
    """Whom the node tries from now on: all of them are open, or none."""
    tried: list[Address] = []

    async def through(address: Address) -> bool:
        tried.append(address)
        return are_open

    monkeypatch.setattr(dialling, "gets_through", through)
    return tried


def test_a_far_holder_that_takes_a_connection_is_dialled_plainly_and_nobody_knocks(open_port: int) -> None:
    """uTP would be used where TCP gets through: several times as slow on a LAN, and it was seen to stand still."""
    far, mate = peer(1, open_port), peer(2, NOBODY_PORT, near=True)
    around = Surroundings(known=[info(far)])
    around.go(lambda it: it.offer(INFOHASH, [mate, far]))
    assert {each.node_id for each in around.offered[0] if not each.shut} == {mate.node_id}  # not tried yet
    assert around.dialled() == {mate.node_id, far.node_id}
    assert around.knocked == []
    assert around.told == []


@pytest.mark.parametrize("shut_in", [False, True])
def test_one_that_takes_none_is_asked_to_dial_and_dialled_at_once(*, shut_in: bool) -> None:
    """Two behind translators would never have each other's pieces."""
    far = peer(1, NOBODY_PORT)
    around = Surroundings(known=[info(far)], shut_in=shut_in)
    around.go(lambda it: it.offer(INFOHASH, [far]))
    assert around.knocked == [([far.node_id], not shut_in)]
    assert around.told == [Address("127.0.0.1", 47101)]
    assert around.dialled() == set()


def test_beside_one_that_gives_only_who_is_whole_is_met() -> None:
    """Of a site only the gateway lets others in: its mates would be knocked at for as long as the image comes. But one that gives
    nothing would keep this node from the one beside it that could."""
    gateway, mate, seed = (peer(n, NOBODY_PORT) for n in (1, 2, 3))
    around = Surroundings(known=[info(gateway), info(mate)], connected=frozenset({gateway.node_id}))
    around.go(lambda it: it.offer(INFOHASH, [gateway, mate]))
    assert around.knocked == [([mate.node_id], True)]
    around.sources.append(Source(gateway.node_id, gateway.address, False, 1, 0.0))
    around.go(lambda it: it.offer(INFOHASH, [gateway, mate]))
    assert len(around.knocked) == len(around.told) == 1
    around.known.append(info(seed, wants=b""))
    around.go(lambda it: it.offer(INFOHASH, [gateway, mate, seed]))
    assert around.knocked[1:] == [([seed.node_id], True)]


def test_of_a_large_swarm_a_part_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node would try hundreds of holders round and round, and each holder be tried by hundreds."""
    tried = tries(monkeypatch, are_open=True)
    crowd = [peer(1 + n % 200, 40_000 + n, host=f"192.0.2.{n}") for n in range(200)]
    around = Surroundings(known=[info(each) for each in crowd])
    around.go(lambda it: it.offer(INFOHASH, crowd))
    assert len(tried) == len(set(tried)) == dialling.FAR_MAX
    assert len(around.dialled()) == dialling.FAR_MAX


def test_what_was_found_counts_for_a_while_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that let nobody in would be taken for shut after its owner opened it, or everybody be tried every five seconds."""
    tried = tries(monkeypatch, are_open=False)
    far = peer(1, NOBODY_PORT)
    around = Surroundings(known=[info(far)])

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            it = Dialling(around.daemon(nursery))
            for after_s in (0.0, dialling.KNOWN_S - 1.0, 2.0):
                around.now_s += after_s
                it.offer(INFOHASH, [far])
                await trio.testing.wait_all_tasks_blocked()

    trio.run(main)
    assert tried == [far.address] * 2


def test_whoever_is_asked_to_dial_does_if_the_image_is_here() -> None:
    """The other side's door would stay shut; or this node dial for anything that anybody names."""
    around = Surroundings()
    asker = Address("192.0.2.1", 47102)
    around.go(lambda it: it.wanted(DialWanted(HOLDING, b"a" * 20, asker)))
    assert around.knocked == [([b"a" * 20], True)]
    around.go(lambda it: it.wanted(DialWanted(b"another!", b"a" * 20, asker)))
    assert len(around.knocked) == 1


def test_those_are_met_first_that_let_this_node_in() -> None:
    """Eight are asked at once: of four sites of six they would be mates, who let nobody in, as often as not."""
    behind = {
        host: [peer(10 * at + n, 40_000 + n, host=host) for n in range(1, 7)]
        for at, host in enumerate(["192.0.2.1", "192.0.2.2"], start=1)
    }
    known = {each.node_id: info(each) for mates in behind.values() for each in mates}
    first, second = behind.values()
    seed = first[4]
    known[seed.node_id] = evolve(known[seed.node_id], fetching=b"")
    order = ranked(HOLDING, [each.node_id for each in second])
    known[order[0]] = evolve(known[order[0]], able=False)
    found = [each.node_id for each in likeliest(HOLDING, [*first, *second], known)]
    assert set(found[:2]) == {seed.node_id, order[1]}
    assert order[0] == found[-1] or order[0] == found[-2]
    assert len(found) == 12


def test_a_try_says_whether_somebody_takes_a_connection(open_port: int) -> None:
    """All else rests on it."""
    assert trio.run(gets_through, Address("127.0.0.1", open_port))
    assert not trio.run(gets_through, Address("127.0.0.1", NOBODY_PORT))


def test_a_try_that_nobody_answers_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A translator drops what it does not know: the operating system alone would wait for two minutes."""
    monkeypatch.setattr(dialling, "TRY_S", 0.05)

    async def silence(host: str, port: int) -> Any:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", silence)
    assert not trio.run(gets_through, Address("192.0.2.1", 47102))


def test_one_that_is_heard_of_later_does_not_wait_for_the_answer_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sites behind translators would meet one after the other, each two seconds after the one before."""
    first, second = peer(1, 1), peer(2, 2)
    tried: list[Address] = []
    heard = trio.Event()

    async def through(address: Address) -> bool:
        tried.append(address)
        if address == first.address:
            await heard.wait()
        else:
            heard.set()
        return False

    monkeypatch.setattr(dialling, "gets_through", through)
    around = Surroundings(known=[info(first), info(second)])

    def both(it: Dialling) -> None:
        it.offer(INFOHASH, [first])
        it.offer(INFOHASH, [first, second])

    around.go(both)
    assert sorted(each.port for each in tried) == [1, 2]
