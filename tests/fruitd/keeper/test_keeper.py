"""The keeper over a real socket and slot files: what a daemon may ask for, and what one that was taken over may not."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

from fruitd.errors import BugError, RefusedError, RetryError, SlotError
from fruitd.keeper import server, wire
from fruitd.keeper.book import Book
from fruitd.keeper.client import KeeperClient
from swarm.news.record import Record
from swarm.root_file import root_record
from swarm.signing import signed
from swarm.trust.keys import SecretKey
from swarm.trust.root import Role, RoleKeys
from tests.fruitd.keeper.bench import LEAVES, NO_MANIFEST, RELEASE, Bench, check, proof
from tests.swarm.trust.ceremony import (
    IMAGE,
    RELEASERS,
    ROOTS,
    STRANGER,
    key,
    manifest_record,
    naming,
    torrent_and_release,
    trust_root,
)

CORA, DAN, EVE = RELEASERS


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_update_from_loan_to_commit(bench: Bench) -> None:
    """No update would be possible with a separate keeper."""
    with bench.client() as client:
        assert (client.facts().active, client.facts().default) == ("a", "a")
        assert client.slot_bytes("b") == bench.slots["b"].stat().st_size
        client.lend("b", len(IMAGE))
        bench.write_image()
        done: list[float] = []
        assert client.check("b", proof(), LEAVES, len(IMAGE), done.append, lambda: None) == []
        assert done[-1] == 1.0
        client.arm("b", RELEASE.infohash)
        assert client.facts().armed == "b"
        assert client.restart() is False
    with bench.client(bench.keeper("b", boots=True)) as client:
        client.commit("b")
        assert client.facts().default == "b"
    assert Book.decode(bench.book.read_bytes()).floor == RELEASE.release


def test_blocks_that_are_wrong_are_named_and_the_slot_is_not_armed(bench: Bench) -> None:
    """The daemon would not know what to fetch again, or the node would boot what the card made of the image."""
    with bench.client() as client:
        client.lend("b", len(IMAGE))
        bench.write_image(data=IMAGE[:16384] + b"x" * 100 + IMAGE[16484:])
        assert check(client) == [1]
        with pytest.raises(RefusedError, match="not read back"):
            client.arm("b", RELEASE.infohash)
        client.lend("b", len(IMAGE))
        bench.write_image()
        assert check(client) == []
        client.arm("b", RELEASE.infohash)


def test_a_slot_that_is_lent_again_is_proved_for_nothing(bench: Bench) -> None:
    """A taken-over daemon would have a good image proved and put another in its place."""
    with bench.client() as client:
        client.lend("b", len(IMAGE))
        bench.write_image()
        check(client)
        client.lend("b", len(IMAGE))
        with pytest.raises(RefusedError, match="not read back"):
            client.arm("b", RELEASE.infohash)
        with pytest.raises(RefusedError, match="was not proved for it before"):
            check(client, NO_MANIFEST)


def test_a_slot_proved_before_is_proved_again_without_its_manifest(bench: Bench) -> None:
    """Nobody could go back to the release before, whose manifest has been replaced; also when the keeper was away."""
    with bench.client() as client:
        client.lend("b", len(IMAGE))
        bench.write_image()
        check(client)
    with bench.client(bench.keeper()) as client:
        assert check(client, NO_MANIFEST) == []
        client.arm("b", RELEASE.infohash)
    bench.write_image(data=b"rot")
    with bench.client(bench.keeper()) as client:
        assert check(client, NO_MANIFEST) == [0]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (manifest_record(CORA), "needs 2 of 3"),
        (manifest_record(CORA, STRANGER), "needs 2 of 3"),
        (manifest_record(CORA, DAN, swarm="pears"), "for swarm"),
        (
            manifest_record(CORA, DAN, releases=(attrs.evolve(RELEASE, infohash=bytes(32)),)),
            "does not name image",
        ),
        (
            manifest_record(CORA, DAN, releases=(attrs.evolve(RELEASE, compatible=("pi9",)),)),
            "not for this node",
        ),
        (
            manifest_record(CORA, DAN, releases=(attrs.evolve(RELEASE, resource="other"),)),
            "not for this node",
        ),
        (manifest_record(CORA, DAN, releases=(attrs.evolve(RELEASE, release=3),)), "disagree on release"),
        (manifest_record(CORA, DAN, releases=(naming(RELEASE, b"x" * 9),)), "disagree on size"),
    ],
)
def test_what_was_not_signed_for_this_node_is_never_armed(bench: Bench, record: Record, words: str) -> None:
    """Whoever takes over the daemon would boot what they like."""
    with bench.client() as client:
        client.lend("b", len(IMAGE))
        bench.write_image()
        with pytest.raises(RefusedError, match=words):
            check(client, proof(record))
        with pytest.raises(RefusedError, match="not read back"):
            client.arm("b", RELEASE.infohash)
        # And a good proof counts afterwards.
        assert check(client) == []


def test_the_running_slot_is_neither_lent_nor_armed(bench: Bench) -> None:
    """The system that runs would be written."""
    with bench.client() as client:
        with pytest.raises(SlotError, match="active"):
            client.lend("a", 1)
        with pytest.raises(RefusedError, match="not read back"):
            client.arm("a", RELEASE.infohash)
        for slot in ("c", "", "a" * 1000):
            with pytest.raises(SlotError, match="no slot"):
                client.lend(slot, 1)


def test_the_slot_to_fall_back_on_is_not_lent_during_a_trial(bench: Bench) -> None:
    """A daemon taken over by a bad release on trial would write over the good one."""
    with bench.client() as client:
        client.lend("b", len(IMAGE))
        bench.write_image()
        check(client)
        client.arm("b", RELEASE.infohash)
    with bench.client(bench.keeper("b", boots=True)) as client:
        with pytest.raises(SlotError, match="not known to be good"):
            client.lend("a", 1)
        assert client.facts().default == "a"
        client.commit("b")
        client.lend("a", 1)
        with pytest.raises(RefusedError, match="never was the default"):
            client.commit("a")


def test_an_armed_slot_is_disarmed_before_it_is_lent(bench: Bench) -> None:
    """A cut in the middle of the next update would boot half of it."""
    with bench.client() as client:
        client.lend("b", len(IMAGE))
        bench.write_image()
        check(client)
        client.arm("b", RELEASE.infohash)
        client.lend("b", len(IMAGE))
        assert client.facts().armed is None


def test_a_slot_the_machine_is_restarting_into_is_not_lent(bench: Bench) -> None:
    """Where the trial is an argument of the restart, it cannot be taken back: what was written meanwhile would boot."""
    keeper = bench.keeper(restart_command=("true",))
    with bench.client(keeper) as client:
        client.lend("b", len(IMAGE))
        bench.write_image()
        assert check(client) == []
        client.arm("b", RELEASE.infohash)
        assert client.restart()
        with pytest.raises(RetryError, match="told to restart into it"):
            client.lend("b", len(IMAGE))
        client.commit("a")
        assert client.restart()
        with pytest.raises(RetryError, match="told to restart into it"):
            client.lend("b", len(IMAGE))
    with bench.client(bench.keeper(boots=True)) as client:
        client.lend("b", len(IMAGE))


def test_an_older_release_is_not_proved_after_a_newer_was_kept(bench: Bench) -> None:
    """A daemon taken over would go back to a release with a hole that has been mended (TUF: rollback)."""
    with bench.client() as client:
        client.lend("b", len(IMAGE))
        bench.write_image()
        check(client)
        client.arm("b", RELEASE.infohash)
    with bench.client(bench.keeper("b", boots=True)) as client:
        client.commit("b")
        torrent, release = torrent_and_release(release=1)
        older = naming(attrs.evolve(release, release=1), torrent)
        client.lend("a", len(IMAGE))
        bench.write_image("a")
        why = attrs.evolve(proof(manifest_record(CORA, DAN, releases=(older,))), torrent=torrent)
        with pytest.raises(RefusedError, match="older than release 2"):
            check(client, why, "a")


def _second_root(*keys: SecretKey) -> Record:
    """Root 2: cora and eve hold the release role no more; frank does, beside dan."""
    frank = key("frank").public.raw
    old = trust_root()
    names = {k: name for k, name in old.names.items() if k not in (CORA.public.raw, EVE.public.raw)}
    roles = {**old.roles, Role.RELEASE: RoleKeys(2, frozenset({frank, DAN.public.raw}))}
    return signed(
        root_record(attrs.evolve(old, version=2, names={**names, frank: "frank"}, roles=roles)), *keys
    )


def test_a_root_once_seen_is_never_forgotten(bench: Bench) -> None:
    """Keys that were stolen and replaced would count again, shown to the keeper by a daemon that was taken over."""
    torrent, release = torrent_and_release(DAN)
    by_new = manifest_record(DAN, key("frank"), releases=(release,))
    with bench.client() as client:
        client.lend("b", len(IMAGE))
        bench.write_image()
        half_signed = attrs.evolve(proof(by_new, _second_root(ROOTS[0])), torrent=torrent)
        with pytest.raises(RefusedError, match="root has 1 valid"):
            check(client, half_signed)
        assert check(client, attrs.evolve(proof(by_new, _second_root(*ROOTS)), torrent=torrent)) == []
        with pytest.raises(RefusedError, match="needs 2 of 2"):
            check(client, proof())
    with bench.client(bench.keeper()) as client, pytest.raises(RefusedError, match="needs 2 of 2"):
        check(client, proof())


def test_a_number_pushed_up_by_a_stolen_key_binds_nobody_once_the_key_is_gone(bench: Bench) -> None:
    """The image it numbered runs on; made the default once more, it would shut out every later release for ever."""
    torrent, release = torrent_and_release(DAN, release=1)
    by_new = manifest_record(DAN, key("frank"), releases=(naming(attrs.evolve(release, release=1), torrent),))
    why = attrs.evolve(proof(by_new, _second_root(*ROOTS)), torrent=torrent)
    with bench.client() as client:
        client.lend("b", len(IMAGE))
        bench.write_image()
        assert check(client) == []
        client.arm("b", RELEASE.infohash)
    with bench.client(bench.keeper("b", boots=True)) as client:
        client.commit("b")
        client.lend("a", len(IMAGE))
        bench.write_image("a")
        assert check(client, why, "a") == []
        client.arm("a", release.infohash)
        client.commit("b")  # the trial is called off
        assert check(client, why, "a") == []
    assert Book.decode(bench.book.read_bytes()).floor == 0


def test_of_two_roots_of_one_version_the_one_that_was_followed_counts(bench: Bench) -> None:
    """Which keys count, and the floor with them, would change from start to start of the keeper."""
    torrent, release = torrent_and_release(DAN)
    by_new = manifest_record(DAN, key("frank"), releases=(release,))
    why = attrs.evolve(proof(by_new, _second_root(*ROOTS)), torrent=torrent)
    stranger = RoleKeys(1, frozenset({STRANGER.public.raw}))
    others = []
    for name in ("m1", "m2", "m3", "m4", "m5", "m6"):
        names = {k.public.raw: k.name for k in ROOTS} | {STRANGER.public.raw: name}
        roles = {Role.ROOT: trust_root().roles[Role.ROOT], Role.RELEASE: stranger}
        other = attrs.evolve(trust_root(), version=2, names=names, roles=roles)
        others.append(signed(root_record(other), *ROOTS))
    with bench.client() as client:
        client.lend("b", len(IMAGE))
        bench.write_image()
        assert check(client, why) == []
        for other in others:
            assert check(client, attrs.evolve(why, roots=(other.encode(),))) == []
            assert (
                check(client, attrs.evolve(why, roots=(attrs.evolve(other, signatures=()).encode(),))) == []
            )


def test_garbage_is_turned_away_and_the_daemon_is_served(bench: Bench) -> None:
    """The keeper could be stopped with a word."""
    with bench.client() as client:
        for garbage in (b"", b"\0" * 3, b"\xff" * 8, b"\0\0\0\x01\xc0", b"\0\0\0\x04\x92\x01\xa1x"):
            with socket.socket(socket.AF_UNIX) as raw:
                raw.connect(str(bench.folder / "socket"))
                raw.sendall(garbage)
        assert client.facts().active == "a"


@pytest.mark.root
def test_another_user_of_the_machine_is_not_answered(bench: Bench) -> None:
    """Any program on the node could have a slot lent to it."""
    with tempfile.TemporaryDirectory(prefix="fruit-") as short:
        bench.folder = Path(short)
        bench.folder.chmod(0o755)
        with bench.client(user=12345) as client:
            (bench.folder / "socket").chmod(0o666)
            assert _asked_by(12346, bench.folder / "socket") == b""
            assert _asked_by(12345, bench.folder / "socket") != b""
            assert client.facts().active == "a"


def _asked_by(user: int, path: Path) -> bytes:
    """The first bytes of the answer to another user of the machine."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            os.setresuid(user, user, user)
            with socket.socket(socket.AF_UNIX) as raw:
                raw.connect(str(path))
                wire.send(raw, wire.encode_request(wire.Facts()))
                os.write(writing, raw.recv(9))
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with open(reading, "rb") as answer:
        return answer.read()


def test_a_daemon_that_goes_away_in_the_middle_is_forgotten(bench: Bench) -> None:
    """A read-back that was cancelled would hold the keeper for as long as the card takes."""

    def stop() -> None:
        raise KeyboardInterrupt

    with bench.client() as client:
        client.lend("b", len(IMAGE))
        bench.write_image()
        with pytest.raises(KeyboardInterrupt):
            client.check("b", proof(), LEAVES, len(IMAGE), lambda done: None, stop)
        assert check(client) == []


def test_no_keeper_is_said_in_words(tmp_path: Path) -> None:
    """The daemon would die of it, or the owner not know what is missing."""
    with pytest.raises(RetryError, match="is fruitd-keeper running"):
        KeeperClient(tmp_path / "socket").facts()


def test_a_book_that_cannot_be_written_lends_nothing(bench: Bench) -> None:
    """After a power cut the keeper would still take a half-written slot for proved."""
    keeper = bench.keeper()
    bench.book.mkdir()
    with bench.client(keeper) as client, pytest.raises(RetryError, match="cannot be written"):
        client.lend("b", 1)


@pytest.mark.parametrize("how", ["junk", "empty", "unreadable"])
def test_a_book_that_is_damaged_is_set_aside_and_the_node_goes_on(bench: Bench, how: str) -> None:
    """One bad sector would end all updates of a node, and its daemon, until somebody comes."""
    if how == "unreadable":
        bench.book.mkdir()
    else:
        bench.book.write_bytes(b"\x95junk" if how == "junk" else b"")
    with bench.client(bench.keeper()) as client:
        assert bench.book.with_name("book.broken").exists()
        with pytest.raises(RefusedError, match="not read back"):
            client.arm("b", RELEASE.infohash)
        client.lend("b", len(IMAGE))
        bench.write_image()
        assert check(client) == []
        client.arm("b", RELEASE.infohash)
    assert Book.decode(bench.book.read_bytes()).row("a").good


def test_a_damaged_book_during_a_trial_gives_nothing_away(bench: Bench) -> None:
    """The slot to fall back on would be lent."""
    with bench.client() as client:
        client.lend("b", len(IMAGE))
        bench.write_image()
        assert check(client) == []
        client.arm("b", RELEASE.infohash)
    bench.book.write_bytes(b"")
    with bench.client(bench.keeper("b", boots=True)) as client:
        with pytest.raises(SlotError, match="not known to be good"):
            client.lend("a", 1)
        client.commit("a")
        assert client.facts().default == "a"


def test_a_keeper_that_refuses_to_run_says_why_to_whoever_waits(tmp_path: Path) -> None:
    """A service manager would start it anew for the same request, again and again, and the daemon not know what is wrong."""
    path = tmp_path / "socket"
    config = tmp_path / "none.toml"
    script = (
        f'exec 3<&0; LISTEN_FDS=1 LISTEN_PID=$$ exec "{sys.executable}" -m fruitd.keeper --config "{config}"'
    )
    with server.listen(path, None) as listener, ThreadPoolExecutor() as asking:
        asked = asking.submit(KeeperClient(path).facts)
        select.select([listener], [], [])
        done = subprocess.run(
            ["sh", "-c", script], stdin=listener, capture_output=True, text=True, check=False
        )
        with pytest.raises(RetryError, match=r"refuses to run: .*none\.toml"):
            asked.result(timeout=60)
        assert select.select([listener], [], [], 0) == ([], [], [])
    assert (done.returncode, "none.toml" in done.stderr) == (2, True)


def test_both_sides_refuse_what_the_other_cannot_have_said() -> None:
    """A mistake in one would make the other write the wrong slot."""
    for request in (
        wire.Facts(),
        wire.Lend("b", 3),
        wire.Check("b", proof()),
        wire.Arm("b", b"x"),
        wire.Restart(),
    ):
        assert wire.decode_request(wire.encode_request(request)) == request
    for data in (b"", b"\xc1", b"\x90", wire.encode_done(1), wire.encode_request(wire.Lend("b", -1))):
        with pytest.raises(BugError):
            wire.decode_request(data)
    with pytest.raises(BugError):
        wire.decode_reply(wire.encode_request(wire.Facts()))
    with pytest.raises(SlotError) as caught:
        wire.decode_reply(wire.encode_failed(SlotError("too small", final=True)))
    assert caught.value.final
