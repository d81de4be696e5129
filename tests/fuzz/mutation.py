"""Inputs that get past the first byte: good ones, changed in their bytes or in their structure. From a seed, always the same."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgpack

import bep35.bencode
from bep35.errors import Bep35Error

NUMBERS = (
    0,
    1,
    -1,
    127,
    128,
    255,
    256,
    2**16,
    2**31 - 1,
    2**31,
    2**32,
    2**53 - 1,
    2**53,
    2**63,
    2**64 - 1,
    -(2**63),
)
TEXTS = ("", "\0", "a" * 41, "\ud7ff", "é", "\x1b[2J", "x" * 300)
BYTES = (b"", b"\0" * 8, b"\xff" * 20, b"\0" * 32, b"\xff" * 33, b"\0" * 64, b"\0" * 65)
DEPTH_MAX = 12
SEEDS_REMEMBERED = 256
"""Good inputs that are not read again for every input made from them: a change never touches what it begins from."""


def mutate_bytes(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """One to four changes of the bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(8):
            case 0 | 1 if changed:
                changed[at % len(changed)] ^= 1 << rng.randrange(8)
            case 2 if changed:
                changed[at % len(changed)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 3:
                changed[at:at] = rng.randbytes(rng.choice((1, 2, 4, 32)))
            case 4:
                del changed[at : at + rng.choice((1, 2, 4, 32))]
            case 5:
                changed[at:] = b""
            case 6:
                other = rng.choice(others)
                begin = rng.randrange(len(other) + 1)
                changed[at:] = other[begin : begin + 512]
            case _:
                changed[at:at] = changed[at : at + 32] * rng.choice((1, 2, 50))
    return bytes(changed)


def _another(rng: random.Random, value: Any) -> Any:
    """Something that may stand in the value's place."""
    match rng.randrange(6):
        case 0:
            return rng.choice(NUMBERS)
        case 1:
            return rng.choice(TEXTS)
        case 2:
            return rng.choice(BYTES)
        case 3:
            return rng.choice((None, True, False, [], {}, 1.5, [[]], {"a": 1}))
        case _:
            return _near(rng, value)


def _near(rng: random.Random, value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + rng.choice((-1, 1, 2**16, -(2**16)))
        case bytes():
            return mutate_bytes(rng, value, [value])
        case str():
            return value + rng.choice(TEXTS)
        case list() if value:
            return rng.choice((value * 2, value[:-1], value[::-1], [*value, rng.choice(value)], [value]))
        case dict() if value:
            return {**value, rng.choice(list(value)): rng.choice(NUMBERS)}
    return [value]


def mutate_value(rng: random.Random, value: Any, depth: int = 0) -> Any:
    """The value with something in it changed."""
    if depth < DEPTH_MAX and rng.random() < 0.8:
        if isinstance(value, list) and value:
            at = rng.randrange(len(value))
            return [*value[:at], mutate_value(rng, value[at], depth + 1), *value[at + 1 :]]
        if isinstance(value, dict) and value:
            name = rng.choice(list(value))
            return {**value, name: mutate_value(rng, value[name], depth + 1)}
        if isinstance(value, bytes) and len(value) > 2 and rng.random() < 0.5:
            return _inside(rng, value, depth)
    return _another(rng, value)


def _inside(rng: random.Random, value: bytes, depth: int) -> bytes:
    """Bytes that hold msgpack in their turn: bodies in records, records in messages."""
    try:
        inner = msgpack.unpackb(value, raw=False, use_list=True, strict_map_key=False)
        if isinstance(inner, list):
            return bytes(msgpack.packb(mutate_value(rng, inner, depth + 1)))
    except (ValueError, OverflowError, TypeError, RecursionError, msgpack.UnpackException):
        pass
    return mutate_bytes(rng, value, [value])


@lru_cache(SEEDS_REMEMBERED)
def _msgpack_value(data: bytes) -> Any:
    return msgpack.unpackb(data, raw=False, use_list=True, strict_map_key=False)


@lru_cache(SEEDS_REMEMBERED)
def _bencode_value(data: bytes) -> Any:
    return bep35.bencode.decode(data)


def mutate_msgpack(rng: random.Random, data: bytes) -> bytes | None:
    """A change of what the msgpack says; None where it is none, or cannot be said."""
    try:
        return bytes(msgpack.packb(mutate_value(rng, _msgpack_value(data))))
    except (ValueError, OverflowError, TypeError, RecursionError, msgpack.UnpackException):
        return None


def mutate_bencode(rng: random.Random, data: bytes) -> bytes | None:
    """The same for bencode."""
    try:
        return bep35.bencode.encode(mutate_value(rng, _bencode_value(data)))
    except (Bep35Error, ValueError, TypeError, AttributeError, RecursionError):
        return None


@lru_cache(SEEDS_REMEMBERED)
def _json_value(data: bytes) -> Any:
    return json.loads(data)


def mutate_json(rng: random.Random, data: bytes) -> bytes | None:
    """The same for JSON."""
    try:
        return json.dumps(mutate_value(rng, _json_value(data))).encode()
    except (ValueError, TypeError, RecursionError):
        return None


STRUCTURES: dict[str, Callable[[random.Random, bytes], bytes | None]] = {
    "msgpack": mutate_msgpack,
    "bencode": mutate_bencode,
    "json": mutate_json,
}


def inputs(rng: random.Random, seeds: Sequence[bytes], structure: str = "") -> bytes:
    """The next input: now and then a good one, or noise; half of the others changed in their structure, where they have one."""
    seed = rng.choice(seeds)
    dice = rng.random()
    if dice < 0.01:
        return seed
    if dice < 0.03:
        return rng.randbytes(rng.randrange(200))
    if structure and dice < 0.55:
        changed = STRUCTURES[structure](rng, seed)
        if changed is not None:
            return changed
    return mutate_bytes(rng, seed, seeds)
