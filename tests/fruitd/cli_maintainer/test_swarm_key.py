"""`fruit key swarm` as operators run it to change the key of a running swarm."""

from __future__ import annotations

from pathlib import Path

from fruitd.config.swarm_keys import read_swarm_keys
from swarm.seal import key_id
from tests.fruitd.cli_maintainer.conftest import Fruit


def test_a_swarm_key_is_changed_in_three_steps(fruit: Fruit, tmp_path: Path) -> None:
    """An operator following the documented steps would end with another key than meant, or with none."""
    for name in ("swarm.key", "new.key"):
        assert fruit("key", "swarm", name).code == 0
    old, new = (read_swarm_keys(tmp_path / name)[0] for name in ("swarm.key", "new.key"))
    early = fruit("key", "swarm", "swarm.key", "--promote", "new.key")
    assert (early.code, "add it everywhere before" in early.err) == (1, True)
    told = fruit("key", "swarm", "swarm.key", "--add", "new.key")
    assert told.out.splitlines()[0] == f"swarm.key: {key_id(old).hex()} seals, {key_id(new).hex()} open too"
    assert "fruit reload" in told.out
    assert "fruit reload" not in fruit("key", "swarm", "swarm.key", "--add", "new.key").out
    assert fruit("key", "swarm", "swarm.key", "--promote", "new.key").code == 0
    assert read_swarm_keys(tmp_path / "swarm.key") == (new, old)
    assert fruit("key", "swarm", "swarm.key", "--drop", key_id(old).hex()).code == 0
    assert read_swarm_keys(tmp_path / "swarm.key") == (new,)
    assert (tmp_path / "swarm.key").stat().st_mode & 0o777 == 0o600
    shown = fruit("key", "swarm", "swarm.key", "--show").out
    assert shown == f"swarm.key: {key_id(new).hex()} seals\n"
    assert new.hex() not in shown


def test_what_makes_no_sense_is_refused_and_changes_nothing(fruit: Fruit, tmp_path: Path) -> None:
    """Two steps at once would cut every other node off."""
    for name in ("swarm.key", "new.key"):
        fruit("key", "swarm", name)
    before = (tmp_path / "swarm.key").read_bytes()
    assert fruit("key", "swarm", "swarm.key", "--add", "new.key", "--promote", "new.key").code == 2
    assert fruit("key", "swarm", "swarm.key", "--promote", "00000000").code == 1
    assert fruit("key", "swarm", "swarm.key", "--add", "absent.key").code == 2
    assert fruit("key", "swarm", "swarm.key", "--drop", "swarm.key").code == 1
    assert (tmp_path / "swarm.key").read_bytes() == before
