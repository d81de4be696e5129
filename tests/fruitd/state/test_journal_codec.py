"""The journal on disk and in memory are the same thing."""

from __future__ import annotations

import pytest

from fruitd.journal_codec import decode_journal, encode_journal
from fruitd.updater.journal import Journal, State


@pytest.mark.parametrize("state", list(State))
def test_a_state_read_back_is_the_state_itself(state: State) -> None:
    """A restart after a rollback would not see that it was one, and would try the bad release again."""
    read = decode_journal(encode_journal(Journal(state=state)))
    assert read.state is state
