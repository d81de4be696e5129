"""If one of these failed, a node would install what it must not, or refuse what it should run."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from fruitd.updater.journal import Journal, Quarantine, SlotContent, Target
from fruitd.updater.offers import QUARANTINED_MAX, Answer, judge, with_quarantine
from tests.fruitd.updater.machine_model import target

R2 = target(2)
RUNS_2 = Journal(slots={"a": SlotContent(R2, committed=True), "b": None}, highest_release=2)


def _bad(release: Target) -> Quarantine:
    return Quarantine(release.infohash, release.release, release.version, "unwell", 1.0, 3)


def test_the_four_answers() -> None:
    """A downgrade, a reused number or a release known to be bad would be installed."""
    assert judge(target(3), RUNS_2, "a").answer is Answer.ACCEPTED
    assert judge(R2, RUNS_2, "a").answer is Answer.UP_TO_DATE
    assert judge(target(1), RUNS_2, "a").answer is Answer.REFUSED
    assert judge(target(2, mark=1), RUNS_2, "a").answer is Answer.REFUSED
    bad = evolve(RUNS_2, quarantined=(_bad(target(3)),))
    assert judge(target(3), bad, "a").answer is Answer.QUARANTINED
    assert judge(target(3, mark=1), bad, "a").answer is Answer.REFUSED
    assert judge(target(4), bad, "a").answer is Answer.ACCEPTED


def test_a_committed_release_that_does_not_run_is_installed_again() -> None:
    """A node whose new slot decayed would stay on the old release for ever."""
    assert judge(R2, RUNS_2, "b").answer is Answer.ACCEPTED


def test_every_refusal_says_which_release_and_why() -> None:
    """An operator would not learn what a node refused."""
    assert "older than release 2" in judge(target(1), RUNS_2, "a").why
    assert "never reused" in judge(target(2, mark=1), RUNS_2, "a").why


@given(st.lists(st.integers(1, 60), max_size=120))
def test_the_quarantine_is_bounded_and_forgets_only_what_is_refused_anyway(releases: list[int]) -> None:
    """A long life of bad releases would fill the journal, or let a bad one in again."""
    journal = Journal()
    for number in releases:
        highest = max(journal.highest_release, number)
        journal = evolve(
            journal, highest_release=highest, quarantined=with_quarantine(journal, _bad(target(number)))
        )
        assert len(journal.quarantined) <= QUARANTINED_MAX
    for number in releases:
        assert judge(target(number), journal, "a").answer is not Answer.ACCEPTED
