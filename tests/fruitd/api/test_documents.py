"""docs/api.md against what a node answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import trio

from swarm.news.record import Record, Signature
from tests.fruitd.api.fake_node import FakeNode, stranger

DOCUMENT = Path(__file__).parents[3] / "docs" / "api.md"


def shape(value: Any) -> Any:
    """Keys all the way down; of a list, its first entry's."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items()}
    return [shape(entry) for entry in value[:1]] if isinstance(value, list) else None


def test_the_examples_have_the_shape_of_the_answers() -> None:
    """A script written after the document would look for fields that no node sends."""
    examples = [
        json.loads(text) for text in re.findall(r"```json\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    ]
    node = FakeNode()
    node.offer(2, reused=400 * 2**20)
    node.others = [stranger("fruit-77")]
    record = Record("manifest", b"stable", 17, b"", (Signature(bytes(32), bytes(64)),))

    async def answers() -> list[dict[str, Any]]:
        await node.take_record(record.encode())
        return [
            await node.status(),
            await node.nodes(),
            await node.stack(),
            await node.stack_history(24, None, 24),
            await node.members(),
            await node.reload(),
            await node.records("manifest"),
            await node.history(5),
            await node.doctor(),
        ]

    assert [shape(example) for example in examples] == [shape(answer) for answer in trio.run(answers)]


def test_a_watched_update_ends_in_a_last_update() -> None:
    """The table at the end of an update would be empty, in the model every client is tested with."""
    node = FakeNode()
    node.offer(2, reused=400 * 2**20)
    node.receive(10**9)
    status = trio.run(node.status)
    named = re.search(r"`last_update` \|.*?`(\{.*?\})`", DOCUMENT.read_text("utf-8"))
    assert named
    assert re.findall(r'"(\w+)"', named[1]) == list(status["last_update"])
    assert status["slots"]["active"] == "b"
