"""`fruit stack on|off|cycle`: if it failed, no bay would be switched, or another, or one operator would do what takes two."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fruitd.cli.stack_switch
from swarm.errors import RefusedError
from swarm.news.record import Record
from swarm.power import Place
from swarm.root_file import RootChain, root_record
from swarm.signing import signed
from swarm.switching import VALID_S_MAX, Action, SwitchCommand, check_switch
from swarm.trust.keys import SecretKey
from swarm.trust.root import Role, RoleKeys, TrustRoot
from tests.fruitd.cli.stack_answer import BOARDS, answer, bay, board
from tests.fruitd.cli.stack_answer import stack as told
from tests.fruitd.cli_maintainer.conftest import Fruit
from tests.fruitd.cli_maintainer.listening_node import ListeningNode, listening_node
from tests.fruitd.maintainer.makers import ANN, BEFORE, CHAIN, MALLORY, NOW_S, key

OLGA, OTTO = key("olga"), key("otto")
FRUIT_05 = bytes.fromhex((b"fruit-05".hex() * 20)[:40])


def root_with(threshold: int) -> RootChain:
    """As `makers.CHAIN`, with two operators."""
    holders = (OLGA, OTTO)
    roles = {
        **CHAIN.newest.roles,
        Role.OPERATOR: RoleKeys(threshold, frozenset(k.public.raw for k in holders)),
    }
    names = {**CHAIN.newest.names, **{k.public.raw: k.name for k in holders}}
    return RootChain.of([signed(root_record(TrustRoot("orchard", 1, names, roles)), ANN)])


ONE, TWO = root_with(1), root_with(2)


class Stack:
    """A stack whose owner acts at once on what the node was sent."""

    def __init__(self, node: ListeningNode) -> None:
        self.node = node
        self.says: dict[str, Any] = {"doing": "", "why": ""}
        self.boards = list(BOARDS)

    @property
    def sent(self) -> list[Record]:
        return [Record.decode(data) for path, data in self.node.requests if path == "/v1/records"]

    def __call__(self) -> dict[str, Any]:
        done = {Place(*record.key[-2:]): record.sequence for record in self.sent}
        boards = []
        for one in self.boards:
            bays = [
                {**b, "command": done[place], **self.says} if (place := Place(*map(int, b["bay"].split(":")))) in done else b
                for b in one["bays"]
            ]  # fmt: skip
            boards.append({**one, "bays": bays})
        return answer(told(*boards))


@pytest.fixture
def rack(fruit: Fruit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A node beside a stack, under a root in which one operator may switch; the keys lie beside it, and now is NOW_S."""
    for who in (OLGA, OTTO, MALLORY):
        write_key(tmp_path / f"{who.name}.key", who)
    Path("root.fruit").write_bytes(ONE.encode())
    monkeypatch.setattr(fruitd.cli.stack_switch.time, "time", lambda: NOW_S + 0.7)
    monkeypatch.setenv("FRUIT_SOCKET", str(tmp_path / "s"))
    with listening_node(tmp_path / "s") as node:
        node.answer = {"schema": 1, "outcome": "accepted"}
        node.stack = Stack(node)
        yield node.stack


def write_key(path: Path, secret: SecretKey) -> None:
    path.write_bytes(secret.encode())
    path.chmod(0o600)


def words(*more: str, key: str = "olga.key") -> list[str]:
    return [*more, "--key", key, "--trust", "root.fruit"]


@pytest.mark.parametrize("action", list(Action))
def test_one_operator_switches_a_bay(fruit: Fruit, rack: Stack, action: Action) -> None:
    """Nothing would be switched, or something else done, or to somebody else."""
    said = fruit("stack", *words(str(action), "fruit-05", "--why", "card is replaced"))
    assert said.code == 0, said.err
    (record,) = rack.sent
    command = check_switch(ONE.newest, record)
    assert command == SwitchCommand(
        "orchard", "rack-1", Place(1, 1), FRUIT_05, action, "card is replaced", int(NOW_S) + 600
    )
    assert f"{action} of bay 1:1 (fruit-05) is on its way" in said.out
    assert "bay 1:1: done" in said.out


def test_what_the_owner_of_the_bus_refuses_is_no_success(fruit: Fruit, rack: Stack) -> None:
    """A script would go on as if the bay were off."""
    rack.says = {"doing": "", "why": "not done: another node sits there, or nobody knows who"}
    said = fruit("stack", *words("off", "fruit-05"))
    assert said.code == 1
    assert "another node sits there" in said.err


def test_two_operators_sign_one_after_the_other(fruit: Fruit, rack: Stack) -> None:
    """Where two must agree nobody could switch anything, unless both keys lay on one machine."""
    Path("root.fruit").write_bytes(TWO.encode())
    alone = fruit("stack", *words("off", "fruit-05"))
    assert alone.code == 1
    assert "needs 1 more signature by operators" in alone.err
    half = fruit("stack", *words("off", "fruit-05", "--why", "smoke", "-o", "off.switch"))
    assert (half.code, "1 more signature is needed: fruit stack sign off.switch" in half.out) == (0, True)
    assert fruit("stack", "publish", "off.switch", "--trust", "root.fruit").code == 1
    assert rack.sent == []
    whole = fruit("stack", *words("sign", "off.switch", key="otto.key"))
    assert "off of bay 1:1 of stack rack-1" in whole.out  # seen before it is signed
    assert "smoke" in whole.out
    assert "signed by enough" in whole.out
    said = fruit("stack", "publish", "off.switch", "--trust", "root.fruit")
    assert said.code == 0, said.err
    assert "off of bay 1:1 (fruit-05) is on its way" in said.out
    (record,) = rack.sent
    assert check_switch(TWO.newest, record).expires_at_s == int(NOW_S) + VALID_S_MAX


def test_two_operators_sign_copies_and_one_merges_them(fruit: Fruit, rack: Stack) -> None:
    """They would have to wait for each other, or lose a signature."""
    Path("root.fruit").write_bytes(TWO.encode())
    fruit("stack", *words("cycle", "1:0", "-o", "one.switch"))
    shutil.copy("one.switch", "other.switch")
    Path("bare.switch").write_bytes(_without_signatures(Path("one.switch")))
    fruit("stack", *words("sign", "bare.switch", key="otto.key"))
    merged = fruit("stack", "merge", "one.switch", "bare.switch", "other.switch", "--trust", "root.fruit")
    assert "signed by enough" in merged.out, merged.err
    check_switch(TWO.newest, Record.decode(Path("one.switch").read_bytes()))
    fruit("stack", *words("off", "1:0", "-o", "off.switch"))
    mixed = fruit("stack", "merge", "off.switch", "one.switch", "--trust", "root.fruit")
    assert (mixed.code, "say different things" in mixed.err) == (1, True)


def _without_signatures(path: Path) -> bytes:
    record = Record.decode(path.read_bytes())
    return Record(record.kind, record.key, record.sequence, record.body).encode()


def test_nobody_else_signs(fruit: Fruit, rack: Stack) -> None:
    """Somebody would believe for a while that it was possible; or a stranger's signature travel with an operator's."""
    refused = fruit("stack", *words("off", "fruit-05", key="mallory.key"))
    assert (refused.code, "is no operator key of swarm orchard" in refused.err) == (1, True)
    fruit("stack", *words("off", "fruit-05", "-o", "off.switch"))
    record = signed(Record.decode(Path("off.switch").read_bytes()), MALLORY)
    Path("theirs.switch").write_bytes(record.encode())
    merged = fruit("stack", "merge", "off.switch", "theirs.switch", "--trust", "root.fruit")
    assert (merged.code, "no operator key" in merged.err) == (1, True)
    assert rack.sent == []


def test_a_file_that_is_late_or_something_else_is_not_published(
    fruit: Fruit, rack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator would wait for what no node acts on; or sign one thing and have said another."""
    Path("manifest").write_bytes(BEFORE.encode())
    other = fruit("stack", "publish", "manifest", "--trust", "root.fruit")
    assert (other.code, "no command to the power" in other.err) == (1, True)
    other = fruit("stack", *words("sign", "manifest"))
    assert (other.code, "no command to the power" in other.err) == (1, True)
    fruit("stack", *words("off", "fruit-05", "-o", "off.switch"))
    monkeypatch.setattr(fruitd.cli.stack_switch.time, "time", lambda: NOW_S + VALID_S_MAX)
    late = fruit("stack", "publish", "off.switch", "--trust", "root.fruit")
    assert (late.code, "say it again" in late.err) == (1, True)
    assert rack.sent == []


def test_a_command_under_another_bays_key_is_not_signed(fruit: Fruit, rack: Stack) -> None:
    """An operator would read one bay and sign for another."""
    fruit("stack", *words("off", "fruit-05", "-o", "off.switch"))
    record = Record.decode(Path("off.switch").read_bytes())
    turned = Record(record.kind, record.key[:-1] + b"\0", record.sequence, record.body)
    Path("off.switch").write_bytes(turned.encode())
    refused = fruit("stack", *words("sign", "off.switch"))
    assert (refused.code, "names one bay and is about another" in refused.err) == (1, True)
    with pytest.raises(RefusedError):
        check_switch(ONE.newest, signed(turned, OLGA))


@pytest.mark.parametrize(
    ("named", "reached"),
    [("fruit-05", "1:1"), ("1:1", "1:1"), (FRUIT_05.hex(), "1:1"), ("3:1", "3:1")],
)
def test_a_bay_is_named_by_its_node_or_its_place(fruit: Fruit, rack: Stack, named: str, reached: str) -> None:
    """Another bay would be switched."""
    assert fruit("stack", *words("off", named, "--no-wait")).code == 0
    (record,) = rack.sent
    assert str(check_switch(ONE.newest, record).place) == reached


def test_what_means_no_bay_or_two_is_refused(fruit: Fruit, rack: Stack) -> None:
    """The first that fits would be switched off."""
    unknown = fruit("stack", *words("off", "fruit-99"))
    assert (unknown.code, "no stack that this node is told of" in unknown.err) == (1, True)
    rack.boards.append(board(4, bay("4:0", "fruit-05")))
    double = fruit("stack", *words("off", "fruit-05"))
    assert (double.code, "in 2 bays" in double.err) == (1, True)
    assert rack.sent == []
