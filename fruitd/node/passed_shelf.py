"""What this node got for others, kept in memory while they come for it. Pure.

Beside the leaf shelf and never with it: what others ask for must not push out what this node works with, nor fill memory that it
needs for its own update.
"""

from __future__ import annotations

from attrs import define

from bep35.errors import Bep35Error
from bep35.metainfo import parse

PASSED_BYTES_MAX = 10 * 1024 * 1024
"""Of all together: the leaves of a 4 GiB image, and its torrent. More: a node promises 96 MiB at work, and idles at 62; while a
blob comes it stands in memory twice. Fewer: torrent and leaves of one image push each other out."""
PASSED_BLOB_BYTES_MAX = 8 * 1024 * 1024
"""Of one of them. Larger ones, the leaves of larger images, are not passed on."""
PASSED_KEPT_S = 600.0
"""What nobody asked for in this time is dropped. Askers come back within 25 s (`swarm.blobs.PAUSE_MAX_S`), those whose try failed
after minutes. Longer: memory is taken while nothing is going on; shorter: a late one waits until it may be fetched again."""


@define
class _Passed:
    data: bytes
    used_s: float
    pieces_root: bytes
    """Of the image, where this is a torrent that can be read; else empty."""


class PassedShelf:
    """Blobs by kind and id, least recently given first."""

    def __init__(self) -> None:
        self._passed: dict[tuple[str, bytes], _Passed] = {}

    def put(self, kind: str, blob_id: bytes, data: bytes, now_s: float) -> None:
        """Keep this for now; the least recently given make room."""
        self._passed.pop((kind, blob_id), None)
        self._passed[kind, blob_id] = _Passed(data, now_s, _pieces_root(data) if kind == "torrent" else b"")
        while sum(len(passed.data) for passed in self._passed.values()) > PASSED_BYTES_MAX:
            del self._passed[next(iter(self._passed))]

    def get(self, kind: str, blob_id: bytes) -> bytes | None:
        """The blob, if it is here."""
        passed = self._passed.get((kind, blob_id))
        return passed.data if passed is not None else None

    def take(self, kind: str, blob_id: bytes) -> bytes | None:
        """The blob, which this node needs for itself now: it is here no more."""
        passed = self._passed.pop((kind, blob_id), None)
        return passed.data if passed is not None else None

    def pieces_root(self, sha256: bytes) -> bytes | None:
        """Pieces root of the image whose torrent file++ is here; None where it is not."""
        passed = self._passed.get(("torrent", sha256))
        return passed.pieces_root if passed is not None else None

    def given(self, kind: str, blob_id: bytes, now_s: float) -> bool:
        """Some of a blob was given to a peer; whether it is one of these."""
        passed = self._passed.pop((kind, blob_id), None)
        if passed is None:
            return False
        passed.used_s = now_s
        self._passed[kind, blob_id] = passed
        return True

    def forget_unused(self, now_s: float) -> None:
        """Drop what nobody has asked for in `PASSED_KEPT_S`."""
        for key in [k for k, passed in self._passed.items() if now_s - passed.used_s > PASSED_KEPT_S]:
            del self._passed[key]

    def clear(self) -> None:
        """Drop everything."""
        self._passed.clear()


def _pieces_root(torrent: bytes) -> bytes:
    try:
        return parse(torrent).pieces_root
    except Bep35Error:
        return b""
