"""Amounts as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fruitd.amounts import duration, energy, line, moment, rate, size, update_energy


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024 * 1024 - 1, "1.0 MiB"),
        (587202560, "560.0 MiB"),
        (2**30, "1.0 GiB"),
        (2**42, "4.0 TiB"),
    ],
)
def test_sizes(amount: int, words: str) -> None:
    """An operator would misread how much is still to come by a factor of 1,000."""
    assert size(amount) == words
    assert rate(amount) == f"{words}/s"


@pytest.mark.parametrize(
    ("joules", "words"),
    [
        (0, "0 J"),
        (999.4, "999 J"),
        (999.6, "1.0 kJ"),
        (156_231.7, "156.2 kJ"),
        (360_000, "0.10 kWh"),
        (3.6e6, "1.00 kWh"),
    ],
)
def test_energies(joules: float, words: str) -> None:
    """A bill would be off by a factor of 3.6."""
    assert energy(joules) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (11523, "3 h 12 min"),
        (90000, "1 d 1 h"),
        (float("inf"), "?"),
        (float("nan"), "?"),
        (-1, "?"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    """A node that tries again in a minute would seem stuck for an hour."""
    assert duration(seconds) == words


@given(st.floats() | st.integers())
def test_no_number_of_a_peer_breaks_the_display(number: float) -> None:
    """One absurd number in one status record would end `fruit nodes` in a traceback."""
    assert duration(number)
    assert moment(number)


@given(st.text())
def test_no_word_of_a_peer_reaches_the_terminal_raw(words: str) -> None:
    """A peer's name could drive the operator's terminal."""
    assert line(words).isprintable()


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ((412.3, 95.0), "412 J in 1 min 35 s"),
        ((412.3, 95.0, 120.0, 0.999), "412 J in 1 min 35 s, 120 J more than idle"),
        ((412.3, 95.0, -12.0, 0.949), "412 J in 1 min 35 s, 12 J less than idle; measured 94 % of the time"),
        ((412.3, 95.0, None, 0.0), "412 J in 1 min 35 s; measured 0 % of the time"),
    ],
)
def test_the_energy_of_an_update(told: tuple[float, ...], words: str) -> None:
    """What was measured of half an update would be taken for all of it."""
    assert update_energy(*told) == words
