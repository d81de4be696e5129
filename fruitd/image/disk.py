"""A disk for a node that GRUB starts: boot loader, boot environment, two slots of one image, and room for what outlives them.

1  fruit-grub   GRUB's core (BIOS boot partition)
2  fruit-boot   grub.cfg, fruit.cfg, grubenv, grubenv.copy: ext2, nothing of it ever moves (docs/boot.md)
3  fruit-a      the image
4  fruit-b      nothing, or the image
5  fruit-data   /var of the node: state, configuration, logs
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from attrs import field, frozen

from fruitd.boot.grub_backend import create_grub_environment
from fruitd.errors import RefusedError, UsageError
from fruitd.image.gpt import BIOS_BOOT, LINUX_DATA, SECTOR_BYTES, GptTable, Partition, laid_out
from fruitd.image.grub_bios import first_sector, placed_core
from fruitd.image.programs import need, run

MIB = 1024 * 1024
GRUB_MODULES = (
    "biosdisk", "part_gpt", "part_msdos", "ext2", "fat", "normal", "configfile", "linux", "probe", "regexp", "loadenv",
    "test", "echo", "sleep", "reboot", "iorw", "serial", "terminal", "minicmd", "ls", "cat", "search",
)  # fmt: skip
"""What packaging/grub/grub.cfg uses, built into the core, so that no module has to be found at boot; and what helps a person who
stands before a machine that does not."""
CORE_BYTES = MIB
BOOT_BYTES = 4 * MIB
GRUB_FOLDER = Path("/usr/lib/grub/i386-pc")
_COPY_BYTES = 4 * MIB


@frozen
class DiskPlan:
    """What a disk is to hold."""

    image: Path
    slot_bytes: int
    data_bytes: int
    grub_cfg: Path
    settings: str = ""
    """Contents of fruit.cfg: lines that grub.cfg reads (docs/boot.md)."""
    data: Path | None = None
    """Folder that becomes the content of the data partition."""
    both: bool = False
    """Put the image into both slots; otherwise slot b is empty."""
    grub: Path = field(default=GRUB_FOLDER)


def make_disk(plan: DiskPlan, output: Path, new_uuid: Callable[[], uuid.UUID] = uuid.uuid4) -> GptTable:
    """Write the disk into the new file `output`, sparse. Raises `UsageError` or `RefusedError`; then there is no file."""
    need("mke2fs", "grub-mkimage")
    image_bytes = plan.image.stat().st_size
    if image_bytes > plan.slot_bytes:
        raise UsageError(
            f"{plan.image} has {image_bytes} bytes, a slot {plan.slot_bytes}; make the slots larger: --slot"
        )
    table = _table(plan, new_uuid)
    core, boot, a, b, data = table.partitions
    unfinished = output.with_name(output.name + ".unfinished")
    try:
        with tempfile.TemporaryDirectory(prefix="fruit-disk-") as scratch, open(unfinished, "wb") as disk:
            work = Path(scratch)
            disk.truncate(table.sectors * SECTOR_BYTES)
            head = table.head()
            start = first_sector((plan.grub / "boot.img").read_bytes(), head, core.first)
            _put(disk.fileno(), 0, start + head[SECTOR_BYTES:])
            _put(disk.fileno(), (table.sectors * SECTOR_BYTES) - len(table.tail()), table.tail())
            _put(disk.fileno(), core.offset, placed_core(_core(plan, work), core.first, CORE_BYTES))
            _copy(_boot_files(plan, work, boot), disk.fileno(), boot.offset)
            for slot in (a, b) if plan.both else (a,):
                _copy(plan.image, disk.fileno(), slot.offset)
            _copy(_data_files(plan, work, data), disk.fileno(), data.offset)
            os.fsync(disk.fileno())
        unfinished.rename(output)
    except OSError as error:
        raise RefusedError(
            f"disk {output} cannot be made: {error.filename or unfinished}: {error.strerror}; GRUB for a BIOS is in grub-pc-bin"
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return table


def _table(plan: DiskPlan, new_uuid: Callable[[], uuid.UUID]) -> GptTable:
    rows = [
        ("fruit-grub", BIOS_BOOT, new_uuid(), CORE_BYTES),
        ("fruit-boot", LINUX_DATA, new_uuid(), BOOT_BYTES),
        ("fruit-a", LINUX_DATA, new_uuid(), plan.slot_bytes),
        ("fruit-b", LINUX_DATA, new_uuid(), plan.slot_bytes),
        ("fruit-data", LINUX_DATA, new_uuid(), plan.data_bytes),
    ]
    return laid_out(rows, new_uuid())


def _core(plan: DiskPlan, work: Path) -> bytes:
    made = work / "core.img"
    run(
        ["grub-mkimage", "-O", "i386-pc", "-d", plan.grub, "-p", "(,gpt2)/", "-o", made, *GRUB_MODULES],
    )
    return made.read_bytes()


def _boot_files(plan: DiskPlan, work: Path, boot: Partition) -> Path:
    folder = work / "boot"
    folder.mkdir()
    shutil.copyfile(plan.grub_cfg, folder / "grub.cfg")
    (folder / "fruit.cfg").write_text(plan.settings)
    create_grub_environment(folder / "grubenv", "a")
    return make_file_system(work / "boot.img", folder, boot.sectors * SECTOR_BYTES, "ext2", "fruit-boot")


def _data_files(plan: DiskPlan, work: Path, data: Partition) -> Path:
    folder = plan.data
    if folder is None:
        folder = work / "data"
        folder.mkdir()
    return make_file_system(work / "data.img", folder, data.sectors * SECTOR_BYTES, "ext4", "fruit-data")


def make_file_system(output: Path, folder: Path, size_bytes: int, kind: str, label: str, *more: str) -> Path:
    """A file system with the contents of a folder, in a new file: ext2 or ext4, root's reserve left out."""
    with open(output, "wb") as file:
        file.truncate(size_bytes)
    run(["mke2fs", "-q", "-F", "-t", kind, "-m", "0", "-L", label, "-d", folder, *more, output])
    return output


def _put(disk: int, offset: int, data: bytes) -> None:
    written = os.pwrite(disk, data, offset)
    if written != len(data):
        raise UsageError(f"the disk took {written} of {len(data)} bytes; is there room?")


def _copy(source: Path, disk: int, offset: int) -> None:
    """Copy a file into the disk; what is zero stays a hole."""
    zeros = bytes(_COPY_BYTES)
    with open(source, "rb") as file:
        while data := file.read(_COPY_BYTES):
            if data != zeros[: len(data)]:
                _put(disk, offset, data)
            offset += len(data)
