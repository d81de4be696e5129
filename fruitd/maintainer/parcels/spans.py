"""What a new image consists of: runs of bytes, each of one origin."""

from __future__ import annotations

from attrs import frozen

from swarm.parcel.recipe import Origin


@frozen
class Member:
    """A file in gzip inside an image, and what it holds, which is its *text* whatever that is."""

    at: int
    """Where its deflate stream begins in the image: behind its header."""
    packed_bytes: int
    """Of that stream, and of the eight bytes behind it."""
    level: int
    """Of gzip, as its header has it."""
    text_at: int
    """Where its text lies among those of all members of an image."""
    text_bytes: int

    @property
    def end(self) -> int:
        """The byte of the image after it."""
        return self.at + self.packed_bytes

    @property
    def text_end(self) -> int:
        """The byte after its text."""
        return self.text_at + self.text_bytes


@frozen
class Span:
    """Consecutive bytes of the new image, of one origin."""

    at: int
    length_bytes: int
    origin: Origin
    source: int = 0
    member: Member | None = None
    """What is packed, where that is the origin."""

    @property
    def end(self) -> int:
        """The byte after the last."""
        return self.at + self.length_bytes
