"""If one of these failed, a node would serve half a torrent, or fill its disk with old ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from fruitd.errors import RetryError
from fruitd.state.node_state import NodeState
from fruitd.state.torrent_shelf import TORRENT_BYTES_MAX, TorrentShelf


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    """A node that restarts would have to ask its peers again."""
    shelf = TorrentShelf(tmp_path / "torrents")
    for raw in (b"one", b"two"):
        shelf.keep(_sha256(raw), raw)
        shelf.keep(_sha256(raw), raw)
    assert sorted(TorrentShelf(tmp_path / "torrents").all()) == [b"one", b"two"]


def test_a_torrent_goes_under_its_own_hash_only(tmp_path: Path) -> None:
    """Another torrent would be found where the signed one is looked for."""
    with pytest.raises(ValueError, match="not the torrent"):
        TorrentShelf(tmp_path).keep(_sha256(b"one"), b"two")


def test_a_damaged_torrent_is_deleted_and_not_served(tmp_path: Path) -> None:
    """A torn file would be taken for the torrent, and the update refused as forged."""
    shelf = TorrentShelf(tmp_path)
    shelf.keep(_sha256(b"good"), b"good")
    (tmp_path / f"{_sha256(b'whole')}.torrent").write_bytes(b"who")
    with (tmp_path / f"{'0' * 64}.torrent").open("wb") as file:
        file.truncate(TORRENT_BYTES_MAX + 1)
    assert shelf.all() == [b"good"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk would be filled further by what could not be written."""
    shelf = TorrentShelf(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RetryError, match="No space left"):
        shelf.keep(_sha256(b"one"), b"one")
    assert list(tmp_path.iterdir()) == []


def test_pruning_keeps_what_is_wanted_and_what_is_shared(tmp_path: Path) -> None:
    """Old torrents would pile up, or the one of a shared image would be lost."""
    state = NodeState(tmp_path)
    for raw in (b"old", b"running", b"shared"):
        state.keep_torrent(_sha256(raw), raw)
    (tmp_path / "torrents" / ".interrupted.new").write_bytes(b"half")
    state.keep_share("aa", _sha256(b"shared"), "/images/1.img")
    state.prune_torrents({_sha256(b"running")})
    assert sorted(state.torrents()) == [b"running", b"shared"]
    assert len(list((tmp_path / "torrents").iterdir())) == 2
    state.keep_share("aa", _sha256(b"shared"), None)
    state.prune_torrents(set())
    assert state.torrents() == []
    state.close()
