"""The node's key: if one of these failed, a node would be off for good over one damaged file, or be another at each start."""

from __future__ import annotations

from pathlib import Path

import pytest

from fruitd.daemon.identity import IDENTITY_FILE, load_identity
from fruitd.errors import RefusedError


def test_the_key_of_the_first_start_is_kept(tmp_path: Path) -> None:
    """A node would be a stranger after every restart."""
    assert load_identity(tmp_path).node_id == load_identity(tmp_path).node_id


@pytest.mark.parametrize("damage", [b"", b"\0" * 64, b"fruit"])
def test_a_damaged_key_is_set_aside_and_the_node_gets_another(tmp_path: Path, damage: bytes) -> None:
    """A card that lost one sector would end all updates of the node until somebody comes."""
    before = load_identity(tmp_path)
    path = tmp_path / IDENTITY_FILE
    path.write_bytes(damage)
    after = load_identity(tmp_path)
    assert after.node_id != before.node_id
    assert after.node_id == load_identity(tmp_path).node_id
    assert path.with_name("identity.key.broken").read_bytes() == damage


def test_a_key_that_cannot_be_read_or_made_now_is_tried_again(tmp_path: Path) -> None:
    """A wrong configuration (exit code 2) is never started again by systemd; a full disk or a wrong mode is none."""
    load_identity(tmp_path)
    (tmp_path / IDENTITY_FILE).chmod(0o644)
    with pytest.raises(RefusedError, match="chmod 600"):
        load_identity(tmp_path)
    with pytest.raises(RefusedError):
        load_identity(tmp_path / "nowhere")
