"""A torrent as libtorrent is given it: the image of the job and nothing else, from nobody but whom the swarm names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bep35 import metainfo
from bep35.errors import Bep35Error
from swarm.errors import RefusedError
from swarm.transfer.piece_order import BEGINNING_BYTES, FIRST, pieces_of
from swarm.transfer.port import ImageJob


def torrent_params(lt: Any, job: ImageJob) -> Any:
    """What is common to fetching and seeding; `RefusedError` where the torrent is not the job's."""
    try:
        described = metainfo.parse(job.torrent)
    except Bep35Error as error:
        raise RefusedError(f"torrent cannot be used: {error}") from error
    if described.infohash != job.infohash or described.length_bytes != job.length_bytes:
        raise RefusedError("torrent describes another image than the one asked for")
    try:
        params = lt.load_torrent_buffer(job.torrent)
    except RuntimeError as error:
        raise RefusedError(f"libtorrent cannot use the torrent: {error}") from error
    # Trackers, web seeds and DHT nodes are not covered by any signature: nobody is called because of them.
    params.trackers, params.url_seeds, params.http_seeds, params.dht_nodes = [], [], [], []
    flags = lt.torrent_flags
    params.flags = flags.no_verify_files | flags.disable_pex | flags.disable_dht | flags.disable_lsd
    if job.cautious_bytes_per_s:
        params.flags |= flags.sequential_download
        params.download_limit = job.cautious_bytes_per_s
    elif job.streamed:
        until = pieces_of(BEGINNING_BYTES, params.ti.piece_length())
        params.piece_priorities = [FIRST] * min(until, params.ti.num_pieces())
    params.save_path = "/nowhere"
    params.renamed_files = {0: str(Path(job.path).absolute())}
    return params
