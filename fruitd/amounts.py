"""Sizes, rates, energies and times as people read them."""

from __future__ import annotations

import math
import time


def size(amount_bytes: float) -> str:
    """`12.3 MiB`; whole bytes below 1 KiB."""
    if amount_bytes < 1024:
        return f"{int(amount_bytes)} B"
    amount = float(amount_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1024:.1f} TiB"


def rate(bytes_per_s: float) -> str:
    """`12.3 MiB/s`."""
    return f"{size(bytes_per_s)}/s"


def energy(joules: float) -> str:
    """`912 J`, `156.4 kJ`; from a tenth of a kilowatt-hour on `0.52 kWh`."""
    if joules < 999.5:
        return f"{joules:.0f} J"
    return f"{joules / 1000:.1f} kJ" if joules < 360_000 else f"{joules / 3.6e6:.2f} kWh"


def update_energy(
    joules: float, measured_s: float, above_idle_j: float | None = None, share: float | None = None
) -> str:
    """`412 J in 1 min 35 s, 120 J more than idle; measured 94 % of the time`. `share`: of the time, from 0 to 1."""
    words = f"{energy(joules)} in {duration(measured_s)}"
    if above_idle_j is not None:
        words += f", {energy(abs(above_idle_j))} {'more' if above_idle_j >= 0 else 'less'} than idle"
    missing = share is not None and share < 0.995
    return f"{words}; measured {math.floor(100 * (share or 0))} % of the time" if missing else words


def duration(seconds: float) -> str:
    """The two largest units: `3 h 12 min`; below ten seconds with one decimal."""
    if not math.isfinite(seconds) or seconds < 0:
        return "?"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit_s, name, small_s, small in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= unit_s:
            rest = whole % unit_s // small_s
            return f"{whole // unit_s} {name} {rest} {small}" if rest else f"{whole // unit_s} {name}"
    return f"{whole} s"


def moment(at_s: float) -> str:
    """Unix time as local date and time, to the second."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))
    except (OverflowError, OSError, ValueError):
        return "?"


def line(words: object) -> str:
    """Words that came from elsewhere, safe for a terminal: one line, nothing unprintable."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(words).split()))
