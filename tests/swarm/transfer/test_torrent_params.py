"""A parcel whose header came last could be made only when all of it is here."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from bep35 import merkle, metainfo
from swarm.transfer.libtorrent_module import load_libtorrent
from swarm.transfer.piece_order import BEGINNING_BYTES
from swarm.transfer.port import BLOCK_BYTES, ImageJob
from swarm.transfer.torrent_params import torrent_params

LENGTH, PIECE_BYTES = 3 * BEGINNING_BYTES + 5, 4 * BLOCK_BYTES


def _priorities(job: ImageJob) -> list[int]:
    """What libtorrent makes of them."""
    lt = load_libtorrent()
    params = torrent_params(lt, job)
    params.flags |= lt.torrent_flags.paused
    session = lt.session({"listen_interfaces": "", "enable_dht": False, "enable_lsd": False})
    found: list[int] = session.add_torrent(params).get_piece_priorities()
    return found


def test_the_beginning_of_what_is_streamed_is_asked_for_first(tmp_path: Path) -> None:
    content = bytes(LENGTH)
    raw = metainfo.build("parcel", LENGTH, merkle.leaf_hashes(content), PIECE_BYTES)
    path = tmp_path / "parcel"
    path.write_bytes(content)
    job = ImageJob(raw, metainfo.parse(raw).infohash, str(path), LENGTH)
    pieces, first = -(-LENGTH // PIECE_BYTES), BEGINNING_BYTES // PIECE_BYTES
    assert _priorities(job) == [4] * pieces
    assert _priorities(evolve(job, streamed=True)) == [7] * first + [4] * (pieces - first)
    cautious = evolve(job, streamed=True, cautious_bytes_per_s=1)  # comes in order anyway
    assert _priorities(cautious) == [4] * pieces


def test_what_is_short_is_all_beginning(tmp_path: Path) -> None:
    content = bytes(5 * BLOCK_BYTES)
    raw = metainfo.build("parcel", len(content), merkle.leaf_hashes(content), PIECE_BYTES)
    (tmp_path / "parcel").write_bytes(content)
    infohash = metainfo.parse(raw).infohash
    job = ImageJob(raw, infohash, str(tmp_path / "parcel"), len(content), streamed=True)
    assert _priorities(job) == [7, 7]
