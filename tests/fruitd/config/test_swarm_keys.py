"""The file of swarm keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from fruitd.config.swarm_keys import added, dropped, promoted, read_swarm_keys, write_swarm_keys
from fruitd.errors import RefusedError, UsageError

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


def test_a_changed_file_keeps_its_comments_its_owner_and_its_permissions(tmp_path: Path) -> None:
    """Changing the key would hand it to everybody, or take it from the daemon that runs as another user."""
    path = key_file(tmp_path, f"# since May\n{OLD}\n", 0o640)
    keys = added(read_swarm_keys(path), (bytes.fromhex(NEW),))
    write_swarm_keys(path, keys)
    assert read_swarm_keys(path) == keys == (bytes.fromhex(OLD), bytes.fromhex(NEW))
    assert path.read_text().startswith("# since May\n")
    assert path.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["swarm.key"]


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    """The key would be changed in a copy that nobody else reads."""
    path = key_file(tmp_path, f"{OLD}\n")
    link = tmp_path / "link"
    link.symlink_to(path)
    write_swarm_keys(link, (bytes.fromhex(NEW),))
    assert link.is_symlink()
    assert read_swarm_keys(path) == (bytes.fromhex(NEW),)


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path) -> None:
    """A full or read-only card would cost the node its swarm."""
    path = key_file(tmp_path, f"{OLD}\n")
    (tmp_path / ".swarm.key.new").mkdir()
    with pytest.raises(RefusedError, match="it is as it was"):
        write_swarm_keys(path, (bytes.fromhex(NEW),))
    assert read_swarm_keys(path) == (bytes.fromhex(OLD),)


def test_the_steps_of_a_change_and_those_out_of_turn() -> None:
    """An operator in a hurry would cut nodes off: by sealing with what others cannot open, or by forgetting what seals."""
    old, new, other = bytes.fromhex(OLD), bytes.fromhex(NEW), bytes(32)
    both = added((old,), (new,))
    assert both == added(both, (new,)) == (old, new)
    assert promoted(both, new) == promoted((new, old), new) == (new, old)
    assert dropped((new, old), old) == dropped((new,), old) == (new,)
    with pytest.raises(RefusedError, match="add it everywhere before"):
        promoted(both, other)
    with pytest.raises(RefusedError, match="promote another everywhere before"):
        dropped(both, old)
    with pytest.raises(RefusedError, match="at most 8"):
        added(both, tuple(bytes([n]) * 32 for n in range(7)))
