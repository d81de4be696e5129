"""Checks of single values in what a peer sent: each returns the value or raises `RefusedError` in words that name no value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import msgpack

from swarm.address import Address
from swarm.errors import RefusedError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
NUMBER_MAX = 2**53 - 1
"""The largest integer every JSON reader keeps exact."""


def unpacked(body: bytes, what: str, form: int, count: int, bytes_max: int) -> list[Any]:
    """The fields behind the format number; raises `RefusedError` where there are not exactly `count` of them."""
    if len(body) > bytes_max:
        raise RefusedError(f"{what} of {len(body)} bytes, the limit is {bytes_max}")
    try:
        value = msgpack.unpackb(body, raw=False, use_list=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise RefusedError(f"{what} is not msgpack: {error}") from error
    match value:
        case [int(found), *fields] if found == form and not isinstance(found, bool) and len(fields) == count:
            return fields
    raise RefusedError(f"{what} is not of format {form}; a newer fruitd may read it")


def packed(form: int, fields: Sequence[Any]) -> bytes:
    """The body that `unpacked` reads."""
    return bytes(msgpack.packb([form, *fields]))


def number(value: Any, what: str, least: int = 0, most: int = NUMBER_MAX) -> int:
    """A whole number within bounds."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise RefusedError(f"{what} is not a whole number from {least} to {most}")


def truth(value: Any, what: str) -> bool:
    """True or false, and nothing that is only like it."""
    if isinstance(value, bool):
        return value
    raise RefusedError(f"{what} is neither true nor false")


def text(value: Any, what: str, chars_max: int, least: int = 0) -> str:
    """Printable text of so many characters."""
    if isinstance(value, str) and least <= len(value) <= chars_max and value.isprintable():
        return value
    raise RefusedError(f"{what} is not printable text of {least} to {chars_max} characters")


def raw(value: Any, what: str, *lengths: int) -> bytes:
    """Bytes of one of these lengths."""
    if isinstance(value, bytes) and len(value) in lengths:
        return value
    raise RefusedError(f"{what} is not {' or '.join(map(str, lengths))} bytes")


def name(value: Any, what: str, least: int = 1) -> str:
    """A name that is part of keys: `NAME`, or nothing where `least` is 0."""
    if isinstance(value, str) and (NAME.fullmatch(value) or (not value and not least)):
        return value
    raise RefusedError(f"{what} is not a name of 1 to 40 of A-Z, a-z, 0-9 and ._-, a letter or digit first")


def cut(words: str, chars_max: int) -> str:
    """The same made printable and cut to a bound, so that `text` takes it."""
    printable = "".join(c if c.isprintable() else " " for c in words)
    return printable if len(printable) <= chars_max else printable[: chars_max - 1] + "…"


def octets(value: Any, what: str, size: int) -> bytes:
    """Exactly `size` bytes."""
    if not isinstance(value, bytes) or len(value) != size:
        raise RefusedError(f"{what} is not {size} bytes")
    return value


def listed(value: Any, what: str, count_max: int) -> list[Any]:
    """A list of at most `count_max` entries."""
    if not isinstance(value, list) or len(value) > count_max:
        raise RefusedError(f"{what} is not a list of at most {count_max}")
    return value


def told(address: Address) -> list[Any]:
    """[host, port], as `address` reads it. The name of an interface means nothing to others, and never leaves this machine."""
    return [address.host.partition("%")[0], address.port]


def address(value: Any) -> Address:
    """[host, port] of one computer: a literal in its one usual form."""
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], str):
        raise RefusedError("peer is not [host, port]")
    host = value[0]
    try:
        literal = ip_address(host)
    except ValueError:
        raise RefusedError("peer's host is not an IP address") from None
    if str(literal) != host or "%" in host or literal.is_unspecified or literal.is_multicast:
        raise RefusedError("peer's host is not the address of one computer")
    return Address(host, number(value[1], "port", 1, 65535))
