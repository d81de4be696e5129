"""How fast, how small and how sparing a node moves an image: against curl and nginx, and against an oracle."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.rows import NotMeasurableError, Row, at_most
from bep35 import merkle, metainfo

MIB = 1024 * 1024
GIB = 1024 * MIB
PAIRS = 3
"""Pairs of curl and node, one after the other, so that both meet the machine in the same mood; the median counts."""
SLOT_SPARE_BYTES = 64 * MIB
PATIENCE_S = 300.0
_STEP_BYTES = 4096
_BLOCK_BYTES = merkle.BLOCK_BYTES


@frozen
class Published:
    """An image with its torrent and leaves, as files."""

    image: Path
    torrent: Path
    leaves: Path
    length_bytes: int


def publish(folder: Path, name: str, content: Sequence[bytes]) -> Published:
    """Write an image, given in parts, with its torrent and leaves."""
    image = folder / name
    with image.open("wb") as file:
        for part in content:
            file.write(part)
    length = image.stat().st_size
    with image.open("rb", buffering=0) as file:
        leaves = merkle.leaf_hashes_of(file, length)
    torrent = metainfo.build(name, length, leaves, metainfo.piece_bytes_for(length))
    published = Published(image, folder / f"{name}.torrent", folder / f"{name}.leaves", length)
    published.torrent.write_bytes(torrent)
    published.leaves.write_bytes(leaves)
    return published


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder on a real disk: below BENCH_DIR if that is set, else where temporary files go."""
    with tempfile.TemporaryDirectory(prefix="fruit-bench-", dir=os.environ.get("BENCH_DIR")) as name:
        yield Path(name)


@contextmanager
def seeding(published: Published) -> Iterator[int]:
    """A node in a process of its own that serves the image; gives its port."""
    with _node({"torrent": str(published.torrent), "image": str(published.image)}) as (process, port):
        yield port
        process.terminate()


def fetch(published: Published, slot: Path, sources: Sequence[Path], peer_port: int) -> dict[str, Any]:
    """Let a node in a process of its own fill the slot; what it measured."""
    task = {
        "torrent": str(published.torrent),
        "leaves": str(published.leaves),
        "slot": str(slot),
        "sources": [str(source) for source in sources],
        "peer_port": peer_port,
    }
    with _node(task) as (process, _port):
        out, _ = process.communicate("go\n", timeout=PATIENCE_S)
        if process.returncode:
            raise RuntimeError(f"the fetching node ended with {process.returncode}")
        result: dict[str, Any] = json.loads(out)
        return result


@contextmanager
def _node(task: dict[str, Any]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "benchmarks.fetching_node"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
            yield process, json.loads(process.stdout.readline())["port"]
        finally:
            if process.poll() is None:
                process.kill()


def fetch_1gib() -> Iterator[Row]:
    """1 GiB from one peer into a slot that is ready to boot: time, memory, bytes written."""
    for program in ("nginx", "curl", "sha256sum"):
        if shutil.which(program, path=_PATH) is None:
            raise NotMeasurableError(f"{program} is not installed")
    with workshop() as folder:
        published = publish(folder, "rootfs-1.img", [os.urandom(MIB) for _ in range(GIB // MIB)])
        active = folder / "active"
        blank(active, GIB)
        runs: list[dict[str, Any]] = []
        ratios: list[float] = []
        with seeding(published) as port, _nginx(folder) as url:
            for _ in range(PAIRS):
                curl_s = _curl(f"{url}/{published.image.name}", folder / "curl-slot", published)
                slot = folder / "slot"
                blank(slot, GIB + SLOT_SPARE_BYTES)
                os.sync()
                runs.append(fetch(published, slot, [active], port))
                slot.unlink()
                ratios.append(runs[-1]["took_s"] / curl_s)
                print(
                    f"  pair: curl {curl_s:.2f} s, node {runs[-1]['took_s']:.2f} s {runs[-1]['steps_s']}",
                    file=sys.stderr,
                )
    yield at_most(
        "fetch_1gib_vs_curl",
        statistics.median(ratios),
        "x",
        1.3,
        "curl -o slot && sync && sha256sum slot, nginx",
    )
    memory = max(run["resident_bytes_max"] for run in runs) / MIB
    yield at_most("fetch_1gib_memory", memory, "MiB", 96, "resident peak of the fetching process")
    written = max(run["written_bytes"] for run in runs) / GIB
    yield at_most("fetch_1gib_written", written, "x", 1.02, "bytes written per byte of image, /proc/PID/io")


def second_release() -> Iterator[Row]:
    """A release that changes a little: what is fetched, and what is written over an older image."""
    generator = random.Random(2)
    old = generator.randbytes(128 * MIB)
    new = change(old, generator)
    with workshop() as folder:
        active = folder / "active"
        active.write_bytes(old)
        published = publish(folder, "rootfs-2.img", [new])
        slot = folder / "slot"
        older = change(old, generator)
        slot.write_bytes(older)
        as_after_a_restart(slot)
        with seeding(published) as port:
            run = fetch(published, slot, [active], port)
        index_bytes = published.leaves.stat().st_size
    oracle = missing_bytes(new, [old, older])
    yield at_most(
        "release_2_fetched",
        run["received_bytes"] / oracle,
        "x",
        1.05,
        "16 KiB blocks at no 4 KiB offset of the old slot",
    )
    yield at_most("release_2_index", 100 * index_bytes / len(new), "%", 0.25, "block index, of the image")
    differing = differing_bytes(new, older)
    yield at_most(
        "release_2_written",
        run["written_bytes"] / differing,
        "x",
        1.02,
        "16 KiB blocks that differ from the slot",
    )


def change(image: bytes, generator: random.Random) -> bytes:
    """A next release: some files changed in place, some moved to other blocks of the file system."""
    changed = bytearray(image)
    steps = len(image) // _STEP_BYTES
    for _ in range(60):
        start, count = generator.randrange(steps - 256), generator.randrange(1, 64)
        changed[start * _STEP_BYTES : (start + count) * _STEP_BYTES] = generator.randbytes(
            count * _STEP_BYTES
        )
    for _ in range(20):
        source, target, count = generator.randrange(steps - 512), generator.randrange(steps - 512), 257
        moved = image[source * _STEP_BYTES : (source + count) * _STEP_BYTES]
        changed[target * _STEP_BYTES : target * _STEP_BYTES + len(moved)] = moved
    return bytes(changed)


def missing_bytes(new: bytes, older: Sequence[bytes]) -> int:
    """The oracle: bytes of blocks that are at no 4 KiB offset of the active slot, nor at their place in the other one."""
    active, inactive = older
    here = {
        hashlib.blake2b(active[at : at + _BLOCK_BYTES]).digest()
        for at in range(0, len(active) - _BLOCK_BYTES + 1, _STEP_BYTES)
    }
    return sum(
        _BLOCK_BYTES
        for at in range(0, len(new), _BLOCK_BYTES)
        if hashlib.blake2b(new[at : at + _BLOCK_BYTES]).digest() not in here
        and new[at : at + _BLOCK_BYTES] != inactive[at : at + _BLOCK_BYTES]
    )


def differing_bytes(new: bytes, slot: bytes) -> int:
    """Bytes of the 16 KiB blocks that are not yet in the slot."""
    blocks = range(0, len(new), _BLOCK_BYTES)
    return sum(_BLOCK_BYTES for at in blocks if new[at : at + _BLOCK_BYTES] != slot[at : at + _BLOCK_BYTES])


def blank(path: Path, size_bytes: int) -> None:
    """A new slot of that size."""
    with path.open("wb") as file:
        file.truncate(size_bytes)


def as_after_a_restart(path: Path) -> None:
    """Flush, and drop the page cache of the file.

    Where it was written in large pieces the cache holds large folios, and the kernel would then book a write of 16 KiB as one of
    the whole folio in /proc/PID/io, though the medium gets 16 KiB (compared with /sys/block/loop0/stat).
    """
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
"""Debian keeps nginx where ordinary users do not look."""


@contextmanager
def _nginx(folder: Path) -> Iterator[str]:
    """nginx on a free port of loopback, serving the folder."""
    for port in range(18480, 18500):
        configuration = folder / "nginx.conf"
        configuration.write_text(
            f"""daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
            events {{ worker_connections 64; }}
            http {{ access_log off; sendfile on; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
                fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
                server {{ listen 127.0.0.1:{port}; root {folder}; }} }}"""
        )
        program = shutil.which("nginx", path=_PATH)
        assert program is not None
        with subprocess.Popen([program, "-c", str(configuration)], stderr=subprocess.DEVNULL) as process:
            try:
                if _answers(process, f"http://127.0.0.1:{port}/nginx.conf"):
                    yield f"http://127.0.0.1:{port}"
                    return
            finally:
                process.terminate()
    raise NotMeasurableError("nginx found no free port")


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s and process.poll() is None:
        if subprocess.run(["curl", "-sf", "-o", os.devnull, url], check=False).returncode == 0:
            return process.poll() is None
        time.sleep(0.05)
    return False


def _curl(url: str, slot: Path, published: Published) -> float:
    """Seconds for what one would do by hand."""
    slot.unlink(missing_ok=True)
    os.sync()
    began_s = time.monotonic()
    subprocess.run(["curl", "-s", "-o", str(slot), url], check=True)
    subprocess.run(["sync"], check=True)
    subprocess.run(["sha256sum", str(slot)], check=True, stdout=subprocess.DEVNULL)
    took_s = time.monotonic() - began_s
    assert slot.stat().st_size == published.length_bytes
    slot.unlink()
    return took_s
