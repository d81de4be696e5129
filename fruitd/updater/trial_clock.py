"""How long a trial has run and how long it has been healthy, told from samples by a clock that may be set meanwhile."""

from __future__ import annotations

from fruitd.updater.settings import UpdateSettings

GAP_INTERVALS_MAX = 3
"""A gap between two looks at the clock counts as at most this many health intervals. A Pi has no clock battery: its clock
leaps by months when the network comes up, in the middle of a trial. Larger: such a leap counts for more. Smaller: a busy
node's late samples count for less than they are."""


class TrialClock:
    """Counts health for one trial. Forgets everything with the daemon; the journal bounds how often that may happen."""

    def __init__(self, settings: UpdateSettings, now_s: float, elapsed_s: float = 0.0) -> None:
        self._settings = settings
        self._seen_s = now_s
        self._sampled_s = now_s
        self._elapsed_s = elapsed_s
        self._healthy_s = 0.0
        self._good = 0
        self._bad = 0
        self.last_why = "no health sample yet"

    def _bounded(self, gap_s: float) -> float:
        return min(max(gap_s, 0.0), GAP_INTERVALS_MAX * self._settings.health_interval_s)

    def look(self, now_s: float) -> None:
        """Time has passed without a sample: it counts for the deadline, and not for health."""
        self._elapsed_s += self._bounded(now_s - self._seen_s)
        self._seen_s = now_s

    def sample(self, ok: bool, why: str, now_s: float) -> None:
        """One health sample. The time between two good ones was healthy."""
        self.look(now_s)
        gap_s = self._bounded(now_s - self._sampled_s)
        self._sampled_s = now_s
        self.last_why = why
        if ok:
            self._healthy_s += gap_s if self._good else 0.0
            self._good += 1
            self._bad = 0
        else:
            self._good = 0
            self._healthy_s = 0.0
            self._bad += 1

    @property
    def passed(self) -> bool:
        """Health has been unbroken for long enough, and seen often enough. Judge right after a good sample."""
        s = self._settings
        return self._good >= s.health_samples and self._healthy_s >= s.health_sustain_s

    @property
    def failed_why(self) -> str | None:
        """Why the trial has failed, or None."""
        s = self._settings
        if self._bad >= s.health_fail_after:
            return f"{self._bad} bad health samples in a row: {self.last_why}"
        if self._elapsed_s >= s.trial_deadline_s:
            return (
                f"not healthy for {s.health_sustain_s:g} s within {s.trial_deadline_s:g} s: {self.last_why}"
            )
        return None

    @property
    def words(self) -> str:
        """How the trial stands, for a person."""
        s = self._settings
        healthy = f"healthy for {self._healthy_s:.0f} of {s.health_sustain_s:g} s ({self._good} of {s.health_samples} samples)"
        return (
            healthy if not self._bad else f"{self._bad} of {s.health_fail_after} bad samples: {self.last_why}"
        )
