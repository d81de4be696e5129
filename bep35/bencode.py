"""Bencoding, strictly: what `decode` accepts is exactly what `encode` writes.

A signature covers bytes, not meaning. Two encodings of one value would let two programs see two things in one
signed torrent, so keys must be sorted and unique, numbers have no leading zeros and no minus zero, and
nothing may follow. Torrents made by others do not always have their keys in order; they can be read with `any_order`, and all
else stays as strict: keys are unique still, so such bytes have one meaning, only another order.

Source: BEP-3, "bencoding".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from bep35.errors import BencodeError

Bencoded = int | bytes | list["Bencoded"] | dict[bytes, "Bencoded"]

SIZE_BYTES_MAX = 8 * 1024 * 1024
"""Of one document. A 32 GiB image in 256 KiB pieces makes a torrent of 4 MiB; a larger one is a mistake or an
attack."""
DEPTH_MAX = 32
"""Nested lists and dictionaries. A single-file torrent needs five; each level costs a frame of Python's
stack."""
VALUES_MAX = 65_536
"""In one document. An empty list is two bytes here and over sixty in memory: without a bound 8 MiB would
become 256."""
INTEGER_MIN, INTEGER_MAX = -(2**63 - 1), 2**63 - 1
"""What others read as the same number: libtorrent 2.1.1 reads -2**63 as 0."""

_STRING_HEAD = re.compile(rb"(0|[1-9][0-9]{0,9}):")
_INTEGER = re.compile(rb"i(0|-?[1-9][0-9]{0,18})e")


def decode(data: bytes, *, size_bytes_max: int = SIZE_BYTES_MAX, any_order: bool = False) -> Bencoded:
    """Read the one value that `data` holds; `BencodeError` says what is wrong and at which byte."""
    reader = _Reader(data, size_bytes_max, any_order)
    value = reader.value(DEPTH_MAX)
    reader.expect_end()
    return value


def raw_items(
    data: bytes, *, size_bytes_max: int = SIZE_BYTES_MAX, any_order: bool = False
) -> dict[bytes, bytes]:
    """The dictionary that `data` holds, in the order found, its values left as the bytes they are written in.

    Every value is checked as `decode` would, so that a slice can be signed and hashed as found and still be
    trusted to be canonical.

    Raises:
        BencodeError: not canonical bencoding, beyond a bound, or not a dictionary.
    """
    reader = _Reader(data, size_bytes_max, any_order)
    if data[:1] != b"d":
        raise BencodeError("expected a dictionary at byte 0")
    spans = reader.dictionary_spans(DEPTH_MAX)
    reader.expect_end()
    return {key: data[start:end] for key, (start, end) in spans.items()}


def encode(value: object) -> bytes:
    """The one canonical encoding of integers, bytes, text (as UTF-8), lists, tuples and mappings of these.

    Raises:
        BencodeError: another type (bool and float among them), an integer beyond 64 bits, a key that is not
            text or bytes, two keys with the same bytes, or nesting beyond `DEPTH_MAX`.
    """
    parts: list[bytes] = []
    _write(value, parts, DEPTH_MAX)
    return b"".join(parts)


def join_raw(items: Mapping[bytes, bytes]) -> bytes:
    """The dictionary whose values are already encoded, keys sorted: the inverse of `raw_items`."""
    return join_raw_as_found({key: items[key] for key in sorted(items)})


def join_raw_as_found(items: Mapping[bytes, bytes]) -> bytes:
    """The same with the keys in the order of `items`: the inverse of `raw_items` with `any_order`."""
    return b"d" + b"".join(encode(key) + value for key, value in items.items()) + b"e"


class _Reader:
    """A position in a document; every method moves it past what it read."""

    def __init__(self, data: bytes, size_bytes_max: int, any_order: bool) -> None:
        if len(data) > size_bytes_max:
            raise BencodeError(f"document of {len(data)} bytes, the limit is {size_bytes_max}")
        self._data = data
        self._at = 0
        self._values = 0
        self._any_order = any_order

    def value(self, depth_left: int) -> Bencoded:
        self._values += 1
        if self._values > VALUES_MAX:
            raise BencodeError(f"document holds more than {VALUES_MAX} values")
        mark = self._data[self._at : self._at + 1]
        if mark.isdigit():
            return self._string()
        if mark == b"i":
            return self._integer()
        if mark == b"l":
            return self._list(depth_left)
        if mark == b"d":
            return self._dictionary(depth_left)
        raise self._wrong("a value")

    def dictionary_spans(self, depth_left: int) -> dict[bytes, tuple[int, int]]:
        """Where each value of the dictionary at this position begins and ends."""
        spans: dict[bytes, tuple[int, int]] = {}
        for key in self._keys(depth_left):
            start = self._at
            self.value(depth_left - 1)
            spans[key] = (start, self._at)
        return spans

    def expect_end(self) -> None:
        if self._at != len(self._data):
            raise self._wrong("the end")

    def _dictionary(self, depth_left: int) -> dict[bytes, Bencoded]:
        return {key: self.value(depth_left - 1) for key in self._keys(depth_left)}

    def _list(self, depth_left: int) -> list[Bencoded]:
        items: list[Bencoded] = []
        self._descend(depth_left)
        while not self._closed():
            items.append(self.value(depth_left - 1))
        return items

    def _keys(self, depth_left: int) -> Iterator[bytes]:
        """The keys of the dictionary at this position; the caller reads each value before asking for the next
        key."""
        self._descend(depth_left)
        before: bytes | None = None
        seen: set[bytes] = set()
        while not self._closed():
            at, key = self._at, self._string()
            if self._any_order:
                if key in seen:
                    raise BencodeError(f"dictionary has a key twice at byte {at}")
                seen.add(key)
            elif before is not None and key <= before:
                raise BencodeError(f"dictionary keys are not sorted and unique at byte {at}")
            yield key
            before = key

    def _descend(self, depth_left: int) -> None:
        if depth_left <= 0:
            raise BencodeError(f"nested deeper than {DEPTH_MAX} at byte {self._at}")
        self._at += 1

    def _closed(self) -> bool:
        if self._data[self._at : self._at + 1] != b"e":
            return False
        self._at += 1
        return True

    def _string(self) -> bytes:
        head = _STRING_HEAD.match(self._data, self._at)
        if head is None:
            raise self._wrong("a string")
        start, end = head.end(), head.end() + int(head[1])
        if end > len(self._data):
            raise BencodeError(f"string at byte {self._at} is longer than the document")
        self._at = end
        return self._data[start:end]

    def _integer(self) -> int:
        found = _INTEGER.match(self._data, self._at)
        number = int(found[1]) if found else INTEGER_MAX + 1
        if found is None or not INTEGER_MIN <= number <= INTEGER_MAX:
            raise self._wrong("a canonical integer of 64 bits")
        self._at = found.end()
        return number

    def _wrong(self, expected: str) -> BencodeError:
        where = f"at byte {self._at}" if self._at < len(self._data) else "where the document ends"
        return BencodeError(f"expected {expected} {where}")


def _write(value: object, parts: list[bytes], depth_left: int) -> None:
    match value:
        case bool():
            raise BencodeError("bencoding has no true and false")
        case int():
            if not INTEGER_MIN <= value <= INTEGER_MAX:
                raise BencodeError("integer does not fit 64 bits")
            parts.append(b"i%de" % value)
        case bytes() | str():
            content = _as_bytes(value)
            parts.append(b"%d:" % len(content))
            parts.append(content)
        case list() | tuple() | Mapping() if depth_left <= 0:
            raise BencodeError(f"nested deeper than {DEPTH_MAX}")
        case list() | tuple():
            parts.append(b"l")
            for item in value:
                _write(item, parts, depth_left - 1)
            parts.append(b"e")
        case Mapping():
            _write_dictionary(value, parts, depth_left)
        case _:
            raise BencodeError(f"bencoding has no {type(value).__name__}")


def _write_dictionary(value: Mapping[object, object], parts: list[bytes], depth_left: int) -> None:
    keyed = {_as_bytes(key): item for key, item in value.items()}
    if len(keyed) != len(value):
        raise BencodeError("two keys of a dictionary have the same bytes")
    parts.append(b"d")
    for key in sorted(keyed):
        parts.append(b"%d:" % len(key))
        parts.append(key)
        _write(keyed[key], parts, depth_left - 1)
    parts.append(b"e")


def _as_bytes(text: object) -> bytes:
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise BencodeError(f"a dictionary key is text or bytes, not {type(text).__name__}")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BencodeError("text holds half a character (a lone surrogate)") from error
