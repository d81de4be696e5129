"""The score of a run, and what it says at the end: a plugin, for the process that prints collects no tests of its own (`-n`)."""

from __future__ import annotations

import pytest

from tests.attacks.counting import STOOD, TOTAL, Score

SCORED = "scored"


@pytest.fixture
def score(request: pytest.FixtureRequest) -> Score:
    """Where a test counts what nodes stood; whatever fails counts as fallen."""
    request.node.user_properties.append((SCORED, True))
    return Score(request.node.user_properties)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Reports reach the process that prints, from whichever the test ran in."""
    if report.when != "call":
        return
    told = dict(report.user_properties)
    if SCORED in told and report.failed:
        TOTAL.fell.append(report.nodeid)
    for name, value in report.user_properties:
        if name == STOOD:
            family, count = value  # type: ignore[misc]
            TOTAL.counts[str(family)] += int(count)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """So that the number is seen."""
    if TOTAL.counts or TOTAL.fell:
        terminalreporter.section("attacks")
        for line in TOTAL.lines():
            terminalreporter.write_line(line)
