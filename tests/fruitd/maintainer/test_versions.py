"""The order of versions: if this were wrong, people would be warned of nothing, or of everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fruitd.maintainer.versions import goes_back

RISING = [
    ["1.9", "1.10", "2.0-alpha", "2.0-beta1", "2.0~rc1", "2.0-rc2", "2.0", "2.0-p1", "2.0.1", "v3", "10"],
    ["2025.12", "2026.1", "2026.11", "2026.11.1"],
    ["", "bookworm-1", "bookworm-2"],
]


def test_versions_rise_as_people_count() -> None:
    """If this failed, 1.10 after 1.9 would be called a step back."""
    for versions in RISING:
        for at, older in enumerate(versions):
            assert not goes_back(older, older)
            for newer in versions[at + 1 :]:
                assert goes_back(newer, older), (older, newer)
                assert not goes_back(older, newer), (older, newer)
    assert not goes_back("v1.0", "1.0")
    assert not goes_back("1.0", "V1.0")


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_any_text_has_its_place(a: str, b: str, c: str) -> None:
    """If this failed, some version would end a release in a traceback, or be both older and newer."""
    assert not (goes_back(a, b) and goes_back(b, a))
    assert not goes_back(a, c) or goes_back(a, b) or goes_back(b, c)


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=4),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=4),
)
def test_plain_numbers_compare_as_lists_of_numbers(before: list[int], after: list[int]) -> None:
    """If this failed, an ordinary dotted version would be compared as text."""
    words = [".".join(map(str, numbers)) for numbers in (before, after)]
    assert goes_back(*words) == (after < before)
