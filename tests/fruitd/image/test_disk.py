"""A disk whose boot loader does not find itself never starts, and nobody is near to see why."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fruitd.boot.grub_backend import grub_media, read_grub_state
from fruitd.boot.grubenv import GrubState
from fruitd.errors import RefusedError, UsageError
from fruitd.image.disk import CORE_BYTES, GRUB_FOLDER, MIB, DiskPlan, make_disk
from fruitd.image.gpt import SECTOR_BYTES, GptTable
from fruitd.image.grub_bios import first_sector, placed_core
from fruitd.image.programs import need

_SETUP = GRUB_FOLDER / "grub-bios-setup"  # where Debian has it
GRUB_CFG = Path(__file__).parents[3] / "packaging/grub/grub.cfg"
needs_grub = pytest.mark.skipif(
    shutil.which("grub-mkimage") is None
    or not (GRUB_FOLDER / "boot.img").exists()
    or shutil.which("debugfs") is None,
    reason="needs grub-mkimage, GRUB for a BIOS and debugfs (apt install grub-common grub-pc-bin e2fsprogs)",
)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "root.img"
    path.write_bytes(b"not quite a file system " * 50_000)
    return path


def plan(image: Path, **more: object) -> DiskPlan:
    return DiskPlan(image, 4 * MIB, 2 * MIB, GRUB_CFG, 'set fruit_watchdog="ib700"\n', **more)  # type: ignore[arg-type]


def part(disk: Path, table: GptTable, number: int) -> bytes:
    partition = table.partitions[number]
    with disk.open("rb") as file:
        file.seek(partition.offset)
        return file.read(partition.sectors * SECTOR_BYTES)


def inside(data: bytes, path: str, tmp_path: Path) -> bytes:
    """A file of an ext2 or ext4 image."""
    (tmp_path / "part.img").write_bytes(data)
    return subprocess.run(
        ["debugfs", "-R", f"cat {path}", tmp_path / "part.img"], capture_output=True, check=True
    ).stdout


@contextlib.contextmanager
def looped(file: Path, offset: int) -> Iterator[str]:
    """A loop device over a file, from an offset on."""
    made = subprocess.run(
        ["losetup", "--find", "--show", f"--offset={offset}", file], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no loop device can be had here")
    device = made.stdout.decode().strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@needs_grub
def test_a_disk_holds_what_was_asked_for(tmp_path: Path, image: Path) -> None:
    """A node would start into something else, or find neither its configuration nor its boot environment."""
    data = tmp_path / "data"
    (data / "etc/fruitd").mkdir(parents=True)
    (data / "etc/fruitd/fruitd.toml").write_text("[node]\n")
    disk = tmp_path / "disk.img"
    table = make_disk(plan(image, data=data), disk)
    held = image.read_bytes()
    assert part(disk, table, 2)[: len(held)] == held
    assert not any(part(disk, table, 3))
    boot = part(disk, table, 1)
    assert inside(boot, "/grub.cfg", tmp_path) == GRUB_CFG.read_bytes()
    assert inside(boot, "/fruit.cfg", tmp_path) == b'set fruit_watchdog="ib700"\n'
    for name in ("grubenv", "grubenv.copy"):
        (tmp_path / name).write_bytes(inside(boot, f"/{name}", tmp_path))
    assert read_grub_state(grub_media(tmp_path / "grubenv")).state == GrubState("a", None)
    assert inside(part(disk, table, 4), "/etc/fruitd/fruitd.toml", tmp_path) == b"[node]\n"


@needs_grub
@pytest.mark.root
def test_the_loader_is_where_grub_bios_setup_would_put_it(tmp_path: Path, image: Path) -> None:
    """GRUB's own installer writes the same bytes; where ours differ, the machine prints GRUB and stands still."""
    disk = tmp_path / "disk.img"
    table = make_disk(plan(image), disk)
    ours = disk.read_bytes()
    with disk.open(
        "r+b"
    ) as file:  # take everything out that is the loader's, then let GRUB's program install it
        file.write(bytes(440))
        file.seek(table.partitions[0].offset)
        file.write(bytes(CORE_BYTES))
    core = bytearray(ours[table.partitions[0].offset :][:CORE_BYTES].rstrip(b"\0"))
    core[0x200 - 12 : 0x200] = (
        (2).to_bytes(8, "little") + bytes(2) + (0x820).to_bytes(2, "little")
    )  # as grub-mkimage left it
    folder = tmp_path / "grub"
    folder.mkdir()
    boot = table.partitions[1].offset
    with looped(disk, 0) as device, looped(disk, boot) as files:
        subprocess.run(["mount", files, folder], check=True)
        try:
            shutil.copy(GRUB_FOLDER / "boot.img", folder)
            (folder / "core.img").write_bytes(core)
            (tmp_path / "device.map").write_text(f"(hd0) {device}\n(hd1) {files}\n")
            setup = [
                _SETUP,
                "--skip-fs-probe",
                "--no-rs-codes",
                "-m",
                tmp_path / "device.map",
                "-d",
                folder,
                device,
            ]
            done = subprocess.run(setup, capture_output=True, check=False)
        finally:
            subprocess.run(["umount", folder], check=True)
    assert done.returncode == 0, done.stderr.decode()
    theirs = disk.read_bytes()
    assert ours[:440] == theirs[:440]
    begin = table.partitions[0].offset
    assert ours[begin : begin + SECTOR_BYTES] == theirs[begin : begin + SECTOR_BYTES]


@needs_grub
def test_what_does_not_fit_is_refused_and_leaves_no_file(tmp_path: Path, image: Path) -> None:
    """A disk with half an image in its slot would be flashed, and start nowhere."""
    with pytest.raises(UsageError, match="make the slots larger"):
        make_disk(DiskPlan(image, MIB, MIB, GRUB_CFG), tmp_path / "disk.img")
    with pytest.raises(RefusedError, match="grub-pc-bin"):
        make_disk(plan(image, grub=tmp_path), tmp_path / "disk.img")
    assert not list(tmp_path.glob("disk.img*"))


def test_a_loader_that_is_none_is_refused() -> None:
    """Any file would be written over the first sector."""
    with pytest.raises(UsageError, match=r"boot\.img"):
        first_sector(bytes(512), bytes(512), 2048)
    with pytest.raises(UsageError, match="GRUB's core"):
        placed_core(bytes(512), 2048, CORE_BYTES)
    with pytest.raises(UsageError, match="GRUB's core"):
        placed_core(bytes(CORE_BYTES + 1), 2048, CORE_BYTES)


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody would read a traceback instead of what to install."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(RefusedError, match="mmdebstrap is missing; apt install mmdebstrap"):
        need("mmdebstrap")
