"""Where the bytes of an image came from, counted while it is put together: for people, and for what `fruit status` shows."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, evolve, field

from fruitd.amounts import size
from swarm.transfer.port import Progress, Source


@define
class Origins:
    """The account of one image on this node, from the first block that was put in place."""

    infohash: str
    began_s: float
    own_disk_bytes: int = 0
    """Of the image, found on this node."""
    made_bytes: int = 0
    """Of the image, made with a parcel."""
    parcel_bytes: int = 0
    """From peers, as a parcel."""
    image_bytes: int = 0
    """From peers, as blocks of the image, because that was the cheapest way."""
    healed_bytes: int = 0
    """From peers, as blocks of the image, because a parcel did not make them right."""
    written_bytes: int = 0
    """To the slot."""
    sources: dict[bytes, Source] = field(factory=dict)
    """What each peer gave, by node id."""

    @property
    def fetched_bytes(self) -> int:
        """From peers, in whatever shape."""
        return self.parcel_bytes + self.image_bytes + self.healed_bytes

    def filled(self, reused_bytes: int, written_bytes: int) -> None:
        """The slot was looked at and filled; again, perhaps: what was made and fetched meanwhile is no find."""
        came_bytes = self.made_bytes + self.image_bytes + self.healed_bytes
        self.own_disk_bytes = max(self.own_disk_bytes, reused_bytes - came_bytes)
        self.written_bytes += written_bytes

    def made(self, made_bytes: int) -> None:
        """A segment's blocks were written."""
        self.made_bytes += made_bytes
        self.written_bytes += made_bytes

    def parcel_ended(self, progress: Progress) -> None:
        """The transfer of a parcel has come to its end, or to an end."""
        self.parcel_bytes += progress.received_bytes
        self._given(progress.sources)

    def image_ended(self, progress: Progress, *, healing: bool) -> None:
        """As above, of the image's own blocks."""
        if healing:
            self.healed_bytes += progress.received_bytes
        else:
            self.image_bytes += progress.received_bytes
        self.written_bytes += progress.received_bytes
        self._given(progress.sources)

    def _given(self, sources: Iterable[Source]) -> None:
        for source in sources:
            before = self.sources.get(source.node_id)
            had_bytes = before.received_bytes if before is not None else 0
            self.sources[source.node_id] = evolve(
                source, received_bytes=had_bytes + source.received_bytes, rate_bytes_per_s=0.0
            )

    def words(self) -> str:
        """For the history: where the image came from."""
        parts = [f"{size(self.own_disk_bytes)} from own disk"]
        if self.parcel_bytes or self.made_bytes:
            parts.append(f"{size(self.made_bytes)} made with a parcel ({size(self.parcel_bytes)} fetched)")
        if self.image_bytes:
            parts.append(f"{size(self.image_bytes)} as blocks of the image")
        if self.healed_bytes:
            parts.append(f"{size(self.healed_bytes)} healed")
        return ", ".join(parts)

    def as_json(self) -> dict[str, int]:
        """See docs/api.md, by_origin."""
        return {
            "own_disk_bytes": self.own_disk_bytes,
            "made_bytes": self.made_bytes,
            "parcel_bytes": self.parcel_bytes,
            "image_bytes": self.image_bytes,
            "healed_bytes": self.healed_bytes,
        }
