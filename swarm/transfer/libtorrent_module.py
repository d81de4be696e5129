"""Loads libtorrent, and refuses one that the slots are not safe with."""

from __future__ import annotations

from types import ModuleType

from swarm.errors import UnsupportedError

LIBTORRENT_MIN = (2, 1, 1)


def check_version(version: str) -> None:
    """Refuse, as `UnsupportedError`, a libtorrent that lacks what the slot's safety rests on."""
    digits = version.split(".")[:3]
    found = tuple(int(part) for part in digits if part.isdecimal())
    if len(found) < 3 or found < LIBTORRENT_MIN:
        need = ".".join(map(str, LIBTORRENT_MIN))
        raise UnsupportedError(
            f"libtorrent {version} is too old, {need} or later is needed: "
            f"pip install 'libtorrent>={need}', or build it from source on 32-bit ARM"
        )


def load_libtorrent() -> ModuleType:
    """The module; `UnsupportedError` where it is missing or too old."""
    # Imported late: 10 MiB of resident memory that commands and simulations do not need.
    try:
        import libtorrent
    except ImportError as error:
        raise UnsupportedError(f"libtorrent cannot be loaded ({error}): pip install libtorrent") from error
    check_version(libtorrent.__version__)
    return libtorrent
