"""Versions are for people; so they are compared as people would: 1.10 after 1.9, 2.0-rc1 before 2.0."""

from __future__ import annotations

import re

_BEFORE_THE_END = frozenset({"alpha", "a", "beta", "b", "pre", "preview", "rc", "dev", "snapshot"})
"""What stands before the version it leads to; any other word, such as `post` or `p`, comes after it."""
_PART = re.compile(r"[0-9]+|[^\W\d_]+")


def goes_back(before: str, after: str) -> bool:
    """True if people would say that `after` is an older version than `before`."""
    return _order(after) < _order(before)


def _order(version: str) -> tuple[tuple[int, int, str], ...]:
    words = version.casefold()
    parts = _PART.findall(words[1:] if re.match(r"v[0-9]", words) else words)
    return (*(_rank(part) for part in parts), (1, 0, ""))


def _rank(part: str) -> tuple[int, int, str]:
    """Early words, then the end of the version, then other words, then numbers."""
    if part[0] in "0123456789":
        return 3, int(part), ""
    return (0 if part in _BEFORE_THE_END else 2), 0, part
