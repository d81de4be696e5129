"""When a node's heart stops although its daemon runs: for what a power cycle may mend, and for nothing else. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define

STOPPED_BY = frozenset({"disk", "memory", "units", "command"})
"""Checks (fruitd/health) that stop it. Heat, a low supply and a clock that is not set are made no better by a power cycle, and a
node that only waits for its clock would be cycled again and again."""
BAD_LOOKS = 3
"""In a row. Fewer: a hiccup costs a power cycle. More: a sick node is left alone for longer."""


@define
class Heart:
    """Of one node."""

    why: str = ""
    """Why it does not beat; "" while it does."""
    _bad: int = 0

    def look(self, checks: Iterable[tuple[str, bool, str]], *, on_trial: bool) -> None:
        """What the checks said: (name, ok, why).

        During a trial the updater judges, with bounds and tries of its own: there the heart stops with the daemon only.
        """
        trouble = [f"{name}: {why}" for name, ok, why in checks if not ok and name in STOPPED_BY]
        if on_trial or not trouble:
            self._bad, self.why = 0, ""
            return
        self._bad += 1
        if self._bad >= BAD_LOOKS:
            self.why = trouble[0]
