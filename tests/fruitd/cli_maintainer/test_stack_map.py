"""`fruit stack show|map`: if it failed, nobody could see a stack, or find out which node sits where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fruitd.cli.stack_answer import RACK
from tests.fruitd.cli_maintainer.conftest import Fruit
from tests.fruitd.cli_maintainer.listening_node import ListeningNode, listening_node

ADA, BOB = "ad" * 20, "b0" * 20


@pytest.fixture
def node(fruit: Fruit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ListeningNode]:
    monkeypatch.setenv("FRUIT_SOCKET", str(tmp_path / "s"))
    with listening_node(tmp_path / "s") as node:
        node.stack = lambda: RACK
        node.nodes = [{"id": ADA, "name": "ada"}, {"id": BOB, "name": "bob"}]
        node.answer = {"schema": 1, "stack": "rack-1", "waiting": [ADA]}
        yield node


def test_a_stack_is_shown_in_words_and_in_json(fruit: Fruit, node: ListeningNode) -> None:
    """Neither people nor scripts could read it."""
    shown = fruit("stack", "show")
    assert (shown.code, shown.err) == (0, "")
    assert "1:0 fruit-04  silent for 3 min 4 s" in shown.out
    assert json.loads(fruit("stack", "show", "--json").out) == RACK


def test_nodes_are_named_as_people_name_them(fruit: Fruit, node: ListeningNode) -> None:
    """Another heart would be asked to pause."""
    said = fruit("stack", "map", "ada", BOB[:6])
    assert node.requests == [("/v1/stack/map", {"nodes": [ADA, BOB]})]
    assert (said.code, "1 node is looked for" in said.out) == (0, True)
    assert json.loads(fruit("stack", "map", "--json").out)["waiting"] == [ADA]


def test_what_cannot_be_looked_for_is_said(fruit: Fruit, node: ListeningNode) -> None:
    """People would wait for a bay that is never found."""
    unknown = fruit("stack", "map", "cat")
    assert (unknown.code, "no node that is known here" in unknown.err) == (1, True)
    assert node.requests == []
    node.answer = {"schema": 1, "stack": "rack-1", "waiting": []}
    assert "every node of this stack has its bay" in fruit("stack", "map").out
