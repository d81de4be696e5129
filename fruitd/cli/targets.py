"""Whom an operator means: a node or a token, by its name or the beginning of its id. Pure."""

from __future__ import annotations

import re
from typing import Any

from attrs import frozen

from fruitd.amounts import line
from fruitd.errors import RefusedError

Json = dict[str, Any]
TOKEN_ID_CHARS, NODE_ID_CHARS = 32, 40
PREFIX_CHARS_MIN = 4


@frozen
class Target:
    """A node or a token."""

    target_id: bytes
    of_token: bool
    said_before: int = 0
    """Sequence of the last word about it, 0 if there was none."""
    members: tuple[bytes, ...] = ()
    """Of a token: who is a member by it."""

    @classmethod
    def of_id(cls, words: str) -> Target | None:
        """Where the words are a whole id."""
        if not re.fullmatch(r"[0-9a-f]+", words) or len(words) not in (TOKEN_ID_CHARS, NODE_ID_CHARS):
            return None
        return cls(bytes.fromhex(words), len(words) == TOKEN_ID_CHARS)


def find_target(words: str, members: Json, nodes: Json, said: list[Json]) -> Target:
    """The one node or token that these words mean. Raises `RefusedError` for none, and for more than one.

    Args:
        words: its name, its id, or at least four digits that its id begins with.
        members, nodes: answers of a node's API (docs/api.md).
        said: its records of kind `revoke`.
    """
    named: dict[str, str] = {row["id"]: row["name"] for row in nodes["nodes"] + nodes["others"]}
    for token in members["tokens"]:
        named[token["id"]] = token["name"]
        named |= {row["id"]: row["name"] or named.get(row["id"], "") for row in token["members"]}
    named |= {row["id"]: named.get(row["id"], "") for row in members["revoked"]}
    whole = Target.of_id(words)
    found = [target_id for target_id, name in named.items() if words in (name, target_id)]
    if not found and len(words) >= PREFIX_CHARS_MIN and re.fullmatch(r"[0-9a-f]+", words):
        found = [target_id for target_id in named if target_id.startswith(words)]
    if not found and whole is not None:
        found = [words]
    if len(found) != 1:
        ids = ", ".join(sorted(found)[:4])
        raise RefusedError(
            f"{line(words)} could be any of {ids}: give the id" if found
            else f"this node knows no node and no token {line(words)}; a whole id works too"
        )  # fmt: skip
    target = Target.of_id(found[0])
    if target is None:
        raise RefusedError(f"the node gave {line(found[0])} for an id, which is none")
    sequence = max((int(row["sequence"]) for row in said if row["key"] == found[0]), default=0)
    joined = [row["id"] for token in members["tokens"] if token["id"] == found[0] for row in token["members"]]
    return Target(target.target_id, target.of_token, sequence, tuple(map(bytes.fromhex, joined)))
