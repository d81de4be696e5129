"""The file of swarm keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from fruitd.config.swarm_keys import read_swarm_keys
from fruitd.errors import UsageError

OLD, NEW = "11" * 32, "aB" * 32


def key_file(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "swarm.key"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_keys_in_their_order(tmp_path: Path) -> None:
    """After a change of keys a node would go on sealing with the old one."""
    path = key_file(tmp_path, f"# since May\n{NEW}\n\n  {OLD}  \n")
    assert read_swarm_keys(path) == (bytes.fromhex(NEW), bytes.fromhex(OLD))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds 0 swarm keys; allowed: 1 to 8"),
        (f"{OLD}\n" * 9, "holds 9 swarm keys"),
        (f"{OLD}\n{NEW[:-1]}\n", "line 2 is not a swarm key"),
        (f"{OLD}é\n", "line 1 is not a swarm key"),
        ("#" * 5000, "larger than 4096 bytes"),
    ],
)
def test_a_bad_file_is_refused_without_showing_it(tmp_path: Path, text: str, words: str) -> None:
    """A typing mistake would shut a node out of its swarm silently, or print a key into the log."""
    with pytest.raises(UsageError, match=words) as caught:
        read_swarm_keys(key_file(tmp_path, text))
    assert not any(OLD[i : i + 8] in str(caught.value) for i in range(0, 56, 8))


def test_a_key_everybody_can_read_is_refused(tmp_path: Path) -> None:
    """Any user of the machine could listen to the swarm."""
    with pytest.raises(UsageError, match="chmod 600"):
        read_swarm_keys(key_file(tmp_path, OLD, 0o644))


def test_no_file(tmp_path: Path) -> None:
    """A missing key would end the daemon in a traceback."""
    with pytest.raises(UsageError, match="No such file"):
        read_swarm_keys(tmp_path / "swarm.key")
