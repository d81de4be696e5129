"""The command that restarts the machine."""

from __future__ import annotations

import pytest

from fruitd.errors import RetryError
from fruitd.keeper.restart import run_restart_command


def test_a_command_that_works_says_nothing() -> None:
    """A node would report a failed restart while it restarts."""
    run_restart_command(["true"])


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["/nowhere/reboot"], "cannot be run: No such file"),
        (["false"], "ended with status 1"),
        (["sh", "-c", "echo not today; exit 3"], "status 3: not today"),
    ],
)
def test_a_command_that_fails_is_tried_again_and_does_not_end_the_daemon(
    command: list[str], words: str
) -> None:
    """The daemon would die of an unexpected error in the middle of an update, again and again."""
    with pytest.raises(RetryError, match=words):
        run_restart_command(command)
