"""`fruit freshness`: if it failed, a fleet that is kept in the past would not know, or would be told so though all is well."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import fruitd.cli.freshness
from swarm.news.record import Record
from swarm.root_file import RootChain, load_root, root_record
from swarm.signing import signed
from swarm.trust.freshness import Freshness
from swarm.trust.keys import SecretKey
from swarm.trust.root import Role, RoleKeys, TrustRoot
from tests.fruitd.cli_maintainer.conftest import Fruit
from tests.fruitd.cli_maintainer.listening_node import ListeningNode, listening_node
from tests.fruitd.maintainer.makers import ANN, BEFORE, CHAIN, CORA, MALLORY, NOW_S, key

FRED, GAIL = key("fred"), key("gail")
DAY_S = 86_400


def root_with(threshold: int, *holders: SecretKey) -> RootChain:
    """As `makers.CHAIN`, with a freshness role."""
    roles = {
        **CHAIN.newest.roles,
        Role.FRESHNESS: RoleKeys(threshold, frozenset(k.public.raw for k in holders)),
    }
    names = {**CHAIN.newest.names, **{k.public.raw: k.name for k in holders}}
    root = TrustRoot("orchard", 1, names, roles)
    return RootChain.of([signed(root_record(root), ANN)])


ONE, TWO = root_with(1, FRED, GAIL), root_with(2, FRED, GAIL)


@pytest.fixture
def node(fruit: Fruit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ListeningNode]:
    """A node that holds release 3 under a root in which fred alone may speak; the keys lie beside it, and now is NOW_S."""
    for who in (FRED, GAIL, CORA, MALLORY):
        (tmp_path / f"{who.name}.key").write_bytes(who.encode())
        (tmp_path / f"{who.name}.key").chmod(0o600)
    monkeypatch.setattr(fruitd.cli.freshness.time, "time", lambda: NOW_S + 0.7)
    monkeypatch.setenv("FRUIT_SOCKET", str(tmp_path / "s"))
    with listening_node(tmp_path / "s") as node:
        holds(node, ONE, BEFORE)
        node.answer = {"schema": 1, "outcome": "accepted"}
        yield node


def holds(node: ListeningNode, chain: RootChain, *records: Record) -> None:
    node.records = [*chain.records, *records]
    Path("root.fruit").write_bytes(chain.encode())


def fresh(
    at_s: int = NOW_S - DAY_S, sequence: int = 17, manifest_hash: bytes = BEFORE.content_hash
) -> Record:
    said = Freshness("orchard", "stable", sequence, manifest_hash, at_s, DAY_S)
    return signed(Record("fresh", said.key, at_s, said.encode()), FRED)


def test_what_the_node_holds_is_said_to_be_current_now(node: ListeningNode, fruit: Fruit) -> None:
    """If this failed, every node would come to think that it is kept in the past."""
    node.records.append(fresh())
    answer = fruit("freshness", "--key", "fred.key", "--channel", "stable", "--valid-for", "36h")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("manifest 17 of channel stable is current as of ")
    assert answer.out.count("\n") == 1
    [(path, body)] = node.requests
    record = Record.decode(body)
    assert path == "/v1/records"
    assert Freshness.decode(record.body) == Freshness(
        "orchard", "stable", 17, BEFORE.content_hash, NOW_S, 36 * 3600
    )
    ONE.newest.check_threshold(Role.FRESHNESS, record)


def test_a_timer_hears_nothing_when_all_is_well(node: ListeningNode, fruit: Fruit) -> None:
    """If this failed, somebody would get a mail every hour, and read none of them."""
    answer = fruit("freshness", "--key", "fred.key", "--quiet")
    assert (answer.code, answer.out, answer.err) == (0, "", "")


OTHER = attrs.evolve(BEFORE, body=BEFORE.body[:-1] + b"x")


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "holds no manifest of channel stable"),
        ([BEFORE, OTHER], "contradict each other"),
        ([BEFORE, fresh(sequence=18)], "the node is behind"),
        ([BEFORE, fresh(manifest_hash=bytes(32))], "somebody has signed two"),
        ([BEFORE, fresh(at_s=NOW_S + 60)], "set the clock"),
    ],
)
def test_what_is_in_doubt_is_not_said(
    node: ListeningNode, fruit: Fruit, records: list[Record], said: str
) -> None:
    """If this failed, a node that is itself kept in the past would tell all others that this is the present."""
    holds(node, ONE, *records)
    answer = fruit("freshness", "--key", "fred.key", "-q")
    assert answer.code == 1
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert node.requests == []


@pytest.mark.parametrize("now_s", [0.0, 1_600_000_000.0, NOW_S - 1001.0])
def test_a_clock_that_is_behind_says_nothing(
    node: ListeningNode, fruit: Fruit, monkeypatch: pytest.MonkeyPatch, now_s: float
) -> None:
    """If this failed, a machine that woke up in 1970 would say that all is old."""
    monkeypatch.setattr(fruitd.cli.freshness.time, "time", lambda: now_s)
    answer = fruit("freshness", "--key", "fred.key")
    assert answer.code == 1
    assert "set the clock" in answer.err


def test_only_freshness_keys_say_it(node: ListeningNode, fruit: Fruit) -> None:
    """If this failed, somebody would learn that a key is the wrong one from nodes that complain a week later."""
    for who in ("cora", "mallory"):
        answer = fruit("freshness", "--key", f"{who}.key")
        assert answer.code == 1
        assert f"key {who}" in answer.err
        assert "no freshness key of swarm orchard" in answer.err
    holds(node, CHAIN, BEFORE)
    nobody = fruit("freshness", "--key", "fred.key")
    assert nobody.code == 1
    assert "--add freshness=" in nobody.err
    assert node.requests == []


def test_the_newest_of_the_node_s_trust_roots_counts(node: ListeningNode, fruit: Fruit) -> None:
    """If this failed, a key that was taken away would still be used, to no effect."""
    newer = attrs.evolve(TWO.newest, version=2)
    record = signed(root_record(newer), ANN)
    node.records.append(record)
    assert "needs 1 more signature" in fruit("freshness", "--key", "fred.key").err
    other = attrs.evolve(newer, expires_at_s=NOW_S * 2)
    node.records.append(signed(root_record(other), ANN))
    assert "contradict each other" in fruit("freshness", "--key", "fred.key").err


@pytest.mark.parametrize(
    ("outcome", "said"), [("older", "something newer"), ("disputed", "say it again"), (7, "7")]
)
def test_an_answer_that_is_no_success_fails(
    node: ListeningNode, fruit: Fruit, outcome: object, said: str
) -> None:
    """If this failed, a timer would be green for months while nobody hears it."""
    node.answer = {"schema": 1, "outcome": outcome}
    answer = fruit("freshness", "--key", "fred.key")
    assert answer.code == 1
    assert said in answer.err
    node.answer = {"schema": 1, "outcome": "known"}
    assert fruit("freshness", "--key", "fred.key").code == 0
    node.code, node.answer = 409, {"error": "fresh has 0 valid signatures"}
    assert "0 valid signatures" in fruit("freshness", "--key", "fred.key").err


def test_two_people_say_it_together_with_files(node: ListeningNode, fruit: Fruit, tmp_path: Path) -> None:
    """If this failed, freshness could only be given to one machine, which then may lie alone."""
    holds(node, TWO, BEFORE)
    alone = fruit("freshness", "--key", "fred.key")
    assert (alone.code, node.requests) == (1, [])
    assert "1 more signature" in alone.err
    assert fruit("freshness", "--key", "fred.key", "-o", "stable.fresh").code == 0
    assert fruit("freshness", "--key", "fred.key", "-o", "stable.fresh").code == 1, "nothing is overwritten"
    shutil.copy("stable.fresh", "gail.fresh")
    half = fruit("freshness", "show", "stable.fresh", "--trust", "root.fruit")
    assert half.code == 1
    assert "1 more signature is needed" in half.out
    assert "1 more signature" in fruit("freshness", "publish", "stable.fresh").err
    signing = fruit(
        "freshness", "sign", "gail.fresh", "--key", "gail.key", "--trust", "root.fruit", "--socket", "s"
    )
    assert signing.code == 0, signing.err
    assert "manifest 17 of channel stable" in signing.out
    assert fruit("freshness", "merge", "stable.fresh", "gail.fresh", "--trust", "root.fruit").code == 0
    assert (tmp_path / "stable.fresh").read_bytes() == (tmp_path / "gail.fresh").read_bytes()
    document = json.loads(fruit("freshness", "show", "stable.fresh", "--trust", "root.fruit", "--json").out)
    assert (document["complete"], document["missing"], document["manifest_sequence"]) == (True, 0, 17)
    assert [k["name"] for k in document["signed_by"]] == ["fred", "gail"]
    assert fruit("freshness", "publish", "stable.fresh").code == 0
    load_root(TWO.encode()).check_threshold(Role.FRESHNESS, Record.decode(node.requests[0][1]))


def test_whoever_signs_second_sees_with_their_own_node(node: ListeningNode, fruit: Fruit) -> None:
    """If this failed, the second signature would say no more than the first."""
    holds(node, TWO, BEFORE)
    fruit("freshness", "--key", "fred.key", "-o", "f")
    before = Path("f").read_bytes()
    for held, said in (
        ([], "holds no manifest"),
        ([attrs.evolve(BEFORE, sequence=18)], "this node holds manifest 18"),
    ):
        holds(node, TWO, *held)
        answer = fruit(
            "freshness", "sign", "f", "--key", "gail.key", "--trust", "root.fruit", "--socket", "s"
        )
        assert answer.code == 1
        assert said in answer.err
    assert Path("f").read_bytes() == before


def test_files_that_say_different_things_are_not_merged(node: ListeningNode, fruit: Fruit) -> None:
    """If this failed, a signature under one word would be counted under another."""
    holds(node, TWO, BEFORE)
    fruit("freshness", "--key", "fred.key", "-o", "f")
    before = Path("f").read_bytes()
    record = Record.decode(before)
    spoilt = attrs.evolve(record.signatures[0], signature=bytes(64))
    others = {
        "other": (fresh().encode(), "different things"),
        "forged": (attrs.evolve(record, signatures=(spoilt,)).encode(), "does not verify"),
        "stranger": (signed(record, MALLORY).encode(), "no freshness key"),
        "manifest": (BEFORE.encode(), "freshness"),
        "moved": (attrs.evolve(fresh(), sequence=5).encode(), "does not say that a manifest is current"),
        "noise": (b"noise", "noise"),
    }
    for name, (data, said) in others.items():
        Path(name).write_bytes(data)
        answer = fruit("freshness", "merge", "f", name, "--trust", "root.fruit")
        assert (answer.code, said in answer.err) == (1, True), (name, answer.err)
        assert Path("f").read_bytes() == before


@pytest.mark.parametrize("words", ["0d", "7", "7y", "400d", "-1d", "1.5d", ""])
def test_a_time_that_cannot_be_is_refused(node: ListeningNode, fruit: Fruit, words: str) -> None:
    """If this failed, a slip would give a word that no node takes, or one that holds for ever."""
    answer = fruit("freshness", "--key", "fred.key", "--valid-for", words)
    assert answer.code == 2
    assert "--valid-for" in answer.err


def test_a_key_is_needed(node: ListeningNode, fruit: Fruit) -> None:
    """If this failed, the command would do nothing, and say so to nobody."""
    assert fruit("freshness", "--channel", "stable").code == 2
    assert fruit("freshness", "sign", "f", "--trust", "root.fruit").code == 2


@pytest.mark.parametrize(
    "command", ["freshness", "freshness sign", "freshness merge", "freshness show", "freshness publish"]
)
def test_every_command_explains_itself_with_an_example(fruit: Fruit, command: str) -> None:
    """If this failed, somebody without the manual would be stuck."""
    answer = fruit(*command.split(), "--help")
    assert answer.code == 0
    assert f"Example:  fruit {command}" in answer.out
    assert max(len(line) for line in answer.out.splitlines()) <= 80
