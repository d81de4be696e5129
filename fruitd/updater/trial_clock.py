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
        self._excused = False
        self._excused_s = 0.0
        self._healthy_s = 0.0
        self._good = 0
        self._bad = 0
        self.last_why = "no health sample yet"

    def _bounded(self, gap_s: float) -> float:
        return min(max(gap_s, 0.0), GAP_INTERVALS_MAX * self._settings.health_interval_s)

    def look(self, now_s: float) -> None:
        """Time has passed without a sample: it counts for the deadline, and not for health. What is excused counts by itself."""
        gap_s = self._bounded(now_s - self._seen_s)
        self._seen_s = now_s
        if self._excused:
            self._excused_s += gap_s
        else:
            self._elapsed_s += gap_s

    def sample(self, ok: bool | None, why: str, now_s: float, *, excused: bool = False) -> None:
        """One health sample. The time between two good ones was healthy; one that says neither ends that, and is not bad."""
        self.look(now_s)
        gap_s = self._bounded(now_s - self._sampled_s)
        self._sampled_s = now_s
        self.last_why = why
        self._excused = ok is None and excused
        if ok:
            self._healthy_s += gap_s if self._good else 0.0
            self._good += 1
            self._bad = 0
        else:
            self._good = 0
            self._healthy_s = 0.0
            self._bad += ok is False

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
    def undecided_why(self) -> str | None:
        """Why the trial cannot be judged here and now, or None."""
        if self._excused_s < self._settings.outage_s_max:
            return None
        return f"for {self._settings.outage_s_max:g} s, {self.last_why}"

    @property
    def words(self) -> str:
        """How the trial stands, for a person."""
        s = self._settings
        healthy = f"healthy for {self._healthy_s:.0f} of {s.health_sustain_s:g} s ({self._good} of {s.health_samples} samples)"
        if self._excused or (not self._good and not self._bad):
            return f"{healthy}; {self.last_why}"
        return (
            healthy if not self._bad else f"{self._bad} of {s.health_fail_after} bad samples: {self.last_why}"
        )
