"""How many attacks nodes stood, and how many they fell for: said at the end of a run."""

from __future__ import annotations

from collections import Counter

from attrs import Factory, define

STOOD = "stood"
"""Under which name a test's report tells what was tried in it, so that it is counted in whatever process the test ran."""


@define
class Score:
    """What one test tried."""

    stood_of: list[tuple[str, object]]

    def stood(self, family: str, count: int = 1) -> None:
        """So many of this family were tried, and came to nothing."""
        self.stood_of.append((STOOD, [family, count]))


@define
class Total:
    """What all tests tried."""

    counts: Counter[str] = Factory(Counter)
    fell: list[str] = Factory(list)

    def lines(self) -> list[str]:
        """For the terminal."""
        rows = [f"  {count:4}  {family}" for family, count in sorted(self.counts.items())]
        total = sum(self.counts.values()) + len(self.fell)
        return [
            *rows,
            f"{total} scenarios, {len(self.fell)} accepted wrongly, or in the way of the next good release",
        ]


TOTAL = Total()
"""Of a run."""
