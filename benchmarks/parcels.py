"""What parcels cost on real pairs, beside whole-image patches (zstd, xdelta3) and other updaters. More than an hour on two cores.

PARCEL_PAIRS names a folder in which the images are kept for the next run.

`python -m benchmarks.parcels OLD|- NEW PARCEL` builds one parcel and tells of it: what the table's rows are measured with.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from attrs import frozen

from benchmarks.by_hand import require
from benchmarks.nodes import workshop
from benchmarks.parcel_images import Pair, kernel_pair, pairs
from benchmarks.parcel_rivals import beside_rivals
from benchmarks.rows import NotMeasurableError, Row, at_most
from fruitd.maintainer.parcels.advice import advice_on
from fruitd.maintainer.parcels.build import build_parcel

MIB = 1024 * 1024


@frozen
class Cost:
    """What one tool made of one pair, and what it took."""

    length_bytes: int
    took_s: float
    peak_mib: float


def parcels() -> Iterable[Row]:
    """Every row of the table, pair by pair."""
    require("zstd", "xdelta3", packages="zstd xdelta3")
    with _place() as folder:
        yield from _rows(folder)


def parcel_build() -> Iterable[Row]:
    """What it takes to build the first of them, beside zstd; ten minutes."""
    require("zstd", packages="zstd")
    with _place() as folder:
        pair, output = kernel_pair(folder), folder / "made"
        parcel = _run(_builder(pair.old, pair.new, output), output)
        yield from _building(pair, parcel, _run(_zstd(pair, output), output))


def _place() -> AbstractContextManager[Path]:
    kept = os.environ.get("PARCEL_PAIRS")
    return nullcontext(Path(kept)) if kept else workshop()


def _rows(folder: Path) -> Iterable[Row]:
    sizes: dict[str, int] = {}
    for pair in pairs(folder):
        output = folder / "made"
        parcel = _run(_builder(pair.old, pair.new, output), output)
        sizes[pair.name] = parcel.length_bytes
        zstd = _run(_zstd(pair, output), output)
        window = str(max(pair.old.stat().st_size, pair.new.stat().st_size))
        xdelta = _run(
            ["xdelta3", "-e", "-f", "-9", "-B", window, "-s", str(pair.old), str(pair.new), str(output)],
            output,
        )
        yield from _beside(pair, parcel, zstd, xdelta)
        yield from beside_rivals(pair, parcel.length_bytes, folder)
    rebuilt, stored = sizes["kernel, ext4 rebuilt"], sizes["kernel, initrd stored"]
    yield at_most("parcel: initrd stored", stored / rebuilt, "x", 0.75, f"{rebuilt / 1e6:.2f} MB as it is")
    inside = sizes["kernel, initrd in gzip"]
    yield at_most(
        "parcel: initrd in gzip", inside / stored, "x", 1.15, f"{stored / 1e6:.2f} MB where it is stored"
    )
    fix, kept = sizes["four packages, ext4 rebuilt"], sizes["four packages, documented"]
    yield at_most(
        "parcel: documentation kept", kept / fix, "x", 1.05, f"{fix / 1e6:.2f} MB without documentation"
    )
    yield _first_install(folder)


def _beside(pair: Pair, parcel: Cost, zstd: Cost, xdelta: Cost) -> Iterable[Row]:
    own = f"{parcel.length_bytes / 1e6:.2f} MB, {pair.name}"
    if pair.new.suffix == ".squashfs":
        better = min(zstd.length_bytes, xdelta.length_bytes)
        ratio = parcel.length_bytes / better
        yield at_most(f"parcel: {pair.name}", ratio, "x", 1.05, f"{own}; better patch {better / 1e6:.2f}")
    else:
        ratio = parcel.length_bytes / zstd.length_bytes
        yield at_most("parcel to zstd -19 patch", ratio, "x", 1.05, f"{own}; {zstd.length_bytes / 1e6:.2f}")
        ratio = parcel.length_bytes / xdelta.length_bytes
        yield at_most("parcel to xdelta3 -9", ratio, "x", 1.10, f"{own}; {xdelta.length_bytes / 1e6:.2f}")
    yield from _building(pair, parcel, zstd)


def _building(pair: Pair, parcel: Cost, zstd: Cost) -> Iterable[Row]:
    against = f"{pair.name}: {parcel.took_s:.0f} s, zstd -19 patch {zstd.took_s:.0f} s"
    yield at_most("parcel: time to build", parcel.took_s / zstd.took_s, "x", 1.0, against)
    yield at_most(
        "parcel: memory to build", parcel.peak_mib, "MiB", 2048, f"{pair.name}, resident, mapped images too"
    )


def _first_install(folder: Path) -> Row:
    image, output = folder / "kernel.ext4", folder / "made"
    parcel = _run(_builder(None, image, output), output)
    whole = _run(["zstd", "-q", "-f", "-19", "-T1", str(image), "-o", str(output)], output)
    against = f"{parcel.length_bytes / 1e6:.2f} MB from nothing, zstd -19 {whole.length_bytes / 1e6:.2f}"
    return at_most("parcel: first install", parcel.length_bytes / whole.length_bytes, "x", 1.03, against)


def _zstd(pair: Pair, output: Path) -> list[str]:
    """A patch, on the same two cores."""
    patch = ["zstd", "-q", "-f", "-19", "--long=31", "-T2", f"--patch-from={pair.old}"]
    return [*patch, str(pair.new), "-o", str(output)]


def _builder(old: Path | None, new: Path, output: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.parcels", str(old or "-"), str(new), str(output)]


def _run(command: list[str], output: Path) -> Cost:
    began_s = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    took_s = time.monotonic() - began_s
    if process.returncode:
        raise NotMeasurableError(f"{command[0]} ended with {process.returncode}")
    cost = Cost(output.stat().st_size, took_s, usage.ru_maxrss / 1024)
    output.unlink()
    return cost


def main(old: str, new: str, output: str) -> None:
    """Build one parcel, and tell what it is and what makes it big."""
    began_s = time.monotonic()
    parcel = build_parcel(Path(new), None if old == "-" else Path(old), Path(output))
    print(
        f"{parcel.length_bytes} bytes, {parcel.length_bytes - parcel.packed_bytes} of them header; "
        f"copied {parcel.copied_bytes}, zero {parcel.zero_bytes}, packed {parcel.fresh_bytes}; "
        f"{time.monotonic() - began_s:.1f} s"
    )
    for advice in advice_on(parcel):
        print(advice.words(parcel))


if __name__ == "__main__":
    main(*sys.argv[1:])
