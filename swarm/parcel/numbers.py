"""Whole numbers as parcels hold them: little-endian base 128, seven bits a byte, the shortest form only."""

from __future__ import annotations

from swarm.errors import RefusedError

NUMBER_BYTES_MAX = 8
"""56 bits: an offset in two images of 64 GiB has 37, and nothing in a parcel is larger."""


def put_number(into: bytearray, value: int) -> None:
    """Append `value`, 0 to 2**56 - 1."""
    while value >= 0x80:
        into.append(value & 0x7F | 0x80)
        value >>= 7
    into.append(value)


def put_signed(into: bytearray, value: int) -> None:
    """Append a number of either sign: 0, -1, 1, -2 become 0, 1, 2, 3."""
    put_number(into, value << 1 if value >= 0 else ~value << 1 | 1)


class NumberReader:
    """Reads numbers one after the other; `RefusedError` at the first that is cut off, too long or not in its shortest form."""

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        """Reads `data[at:end]`, without a copy."""
        self.data = data
        self.at = at
        self.end = len(data) if end is None else end

    @property
    def finished(self) -> bool:
        """Whether nothing is left."""
        return self.at >= self.end

    def number(self) -> int:
        """The next number."""
        data, at = self.data, self.at
        value = shift = 0
        while at < self.end:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    raise RefusedError("parcel holds a number that is not in its shortest form")
                self.at = at
                return value
            shift += 7
            if shift >= 7 * NUMBER_BYTES_MAX:
                raise RefusedError(f"parcel holds a number of more than {NUMBER_BYTES_MAX} bytes")
        raise RefusedError("parcel ends within a number")

    def signed(self) -> int:
        """The next number of either sign."""
        value = self.number()
        return value >> 1 if not value & 1 else ~(value >> 1)

    def count(self, what: str, least: int, most: int) -> int:
        """The next number, which counts `what`; `RefusedError` outside its bounds."""
        value = self.number()
        if not least <= value <= most:
            raise RefusedError(f"parcel: {what} is {value}, allowed are {least} to {most}")
        return value

    def skip(self, length: int, what: str) -> None:
        """Go on behind the next `length` bytes."""
        if self.end - self.at < length:
            raise RefusedError(f"parcel ends within {what}")
        self.at += length

    def raw(self, length: int, what: str) -> bytes:
        """The next `length` bytes as they are."""
        self.skip(length, what)
        return bytes(self.data[self.at - length : self.at])
