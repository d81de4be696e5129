"""The bound that every figure is held against: were it too high, a slow tool would look perfect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.testbed.bound import publisher_copies_at_bound, site_bound_s

MBIT = 1e6 / 8
MIB = 1024 * 1024
RATES = st.floats(0.1, 100.0)


@pytest.mark.parametrize(
    ("image_bytes", "up", "down", "site_up", "bound_s"),
    [
        (32 * MIB, 10, [20] * 4, [5] * 4, 35.79),  # the table of docs/performance.md: all uplinks together
        (32 * MIB, 10, [20], [5], 26.84),  # one copy out of the publisher
        (32 * MIB, 10, [20, 2], [5, 5], 134.2),  # one copy into the thinnest site
        (32 * MIB, 10, [20] * 4, [0] * 4, 107.4),  # nobody helps
    ],
)
def test_known_cases(
    image_bytes: int, up: float, down: list[float], site_up: list[float], bound_s: float
) -> None:
    """Figures in the documents would be ratios to a wrong number."""
    found = site_bound_s(image_bytes, up * MBIT, [d * MBIT for d in down], [u * MBIT for u in site_up])
    assert found == pytest.approx(bound_s, rel=1e-3)


@given(
    up=RATES,
    sites=st.lists(st.tuples(RATES, RATES), min_size=1, max_size=6),
    shares=st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6),
)
def test_no_schedule_beats_it(up: float, sites: list[tuple[float, float]], shares: list[float]) -> None:
    """A tool could be better than possible.

    The schedules: every site takes a part of the image from the publisher only, and that part is passed on by one other site.
    Whatever the parts are, the busiest line needs at least the bound.
    """
    down, site_up = [d for d, _ in sites], [u for _, u in sites]
    count = len(sites)
    # Site s gets `shares[s]` of the image from the site before it, the rest from the publisher; at least one copy leaves that.
    passed = [0.0 if count == 1 else shares[s] for s in range(count)]
    published = max(1.0, sum(1 - part for part in passed))
    took_s = max(
        published / up,
        *(1 / d for d in down),
        *(passed[s] / site_up[s - 1] for s in range(count) if passed[s]),
    )
    assert took_s >= site_bound_s(1, up, down, site_up) * (1 - 1e-9)


def test_what_the_publisher_has_to_send() -> None:
    """Sending exactly one copy would be asked of a publisher that has to send more."""
    copies = publisher_copies_at_bound(32 * MIB, 10 * MBIT, [20 * MBIT] * 4, [5 * MBIT] * 4)
    assert copies == pytest.approx(4 / 3, rel=1e-3)
    assert publisher_copies_at_bound(32 * MIB, 10 * MBIT, [20 * MBIT] * 2, [50 * MBIT] * 2) == 1.0
