"""What kind of file system an image holds, by its magic numbers: an image that holds none is most likely the wrong file."""

from __future__ import annotations

from pathlib import Path

from fruitd.maintainer.mistakes import as_refusals

_MAGICS: tuple[tuple[str, int, bytes], ...] = (
    ("ext", 1080, b"\x53\xef"),
    ("squashfs", 0, b"hsqs"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    ("xfs", 0, b"XFSB"),
    ("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    ("btrfs", 65_600, b"_BHRfS_M"),
)
"""Name, offset in bytes, bytes: include/uapi/linux/magic.h and each file system's super block."""
_HEAD_BYTES = 65_608


def image_kind(image: Path) -> str:
    """`ext`, `squashfs`, `erofs`, `xfs`, `f2fs` or `btrfs`; empty where it looks like none of these."""
    with as_refusals(f"image {image}"), open(image, "rb", buffering=0) as file:
        head = file.read(_HEAD_BYTES)
    return next((name for name, at, magic in _MAGICS if head[at : at + len(magic)] == magic), "")
