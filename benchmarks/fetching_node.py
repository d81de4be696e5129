"""A process that is a node as far as moving an image goes: started by `benchmarks.transfer`, one for each role.

Reads one JSON line with what to do, says that it is ready, and begins at the next line. It imports what the daemon imports, so
that its memory is the daemon's.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import trio

from bep35 import metainfo
from fruitd import daemon  # for its weight
from fruitd.slots import read_back, reuse
from swarm.address import Address
from swarm.transfer.libtorrent_transfer import LibtorrentTransfer
from swarm.transfer.port import ImageFetched, ImageJob, TransferPeer
from swarm.transfer.session_settings import TransferSettings

assert daemon is not None


def resident_bytes_max() -> int:
    """Peak resident memory of this process so far."""
    return _number("/proc/self/status", "VmHWM:") * 1024


def _number(path: str, key: str) -> int:
    for line in Path(path).read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise LookupError(f"{path} has no {key}")


async def _fetch(transfer: LibtorrentTransfer, task: dict[str, Any]) -> dict[str, Any]:
    """What the daemon does between an offer and a slot that is ready to boot."""
    torrent = Path(task["torrent"]).read_bytes()
    described = metainfo.parse(torrent)
    leaves, slot = Path(task["leaves"]).read_bytes(), Path(task["slot"])
    times = [time.monotonic()]
    cpu = [time.process_time()]
    filled = await reuse.fill(slot, [Path(s) for s in task["sources"]], leaves, described.length_bytes)
    times.append(time.monotonic())
    cpu.append(time.process_time())
    transfer.fetch(ImageJob(torrent, described.infohash, str(slot), described.length_bytes), filled.present)
    peer = TransferPeer(b"p" * 20, Address("127.0.0.1", task["peer_port"]), same_site=True)
    transfer.offer_peers(described.infohash, [peer])
    events = transfer.events()
    while not events:
        await transfer.wait()
        events = transfer.events()
    assert events == [ImageFetched(described.infohash)], events
    times.append(time.monotonic())
    cpu.append(time.process_time())
    bad = await read_back.check(slot, leaves, described.length_bytes)
    assert not bad, f"{len(bad)} bad blocks"
    times.append(time.monotonic())
    cpu.append(time.process_time())
    progress = transfer.progress(described.infohash)
    assert progress is not None
    return {
        "took_s": times[-1] - times[0],
        "steps_s": [round(later - earlier, 3) for earlier, later in pairwise(times)],
        "cpu_s": [round(later - earlier, 3) for earlier, later in pairwise(cpu)],
        "received_bytes": progress.received_bytes,
        "filled_bytes": filled.written_bytes,
    }


async def _seed(transfer: LibtorrentTransfer, task: dict[str, Any]) -> None:
    torrent = Path(task["torrent"]).read_bytes()
    described = metainfo.parse(torrent)
    transfer.seed(ImageJob(torrent, described.infohash, task["image"], described.length_bytes))
    while True:
        await transfer.wait()
        transfer.events()


def main() -> None:
    """See the module."""
    task = json.loads(sys.stdin.readline())
    seeding = "image" in task
    transfer = LibtorrentTransfer(TransferSettings((b"p" if seeding else b"f") * 20, "127.0.0.1", 0))
    print(json.dumps({"port": transfer.port}), flush=True)
    if seeding:
        trio.run(_seed, transfer, task)
        return
    sys.stdin.readline()
    written = _number("/proc/self/io", "write_bytes:")
    result = trio.run(_fetch, transfer, task)
    result["written_bytes"] = _number("/proc/self/io", "write_bytes:") - written
    result["resident_bytes_max"] = resident_bytes_max()
    transfer.close()
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
