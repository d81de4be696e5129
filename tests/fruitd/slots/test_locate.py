"""If one of these failed, a node would write an update to another disk's partition, or not find its slots without udev."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fruitd.errors import SlotError
from fruitd.slots.locate import BY_LABEL, BY_UUID, Devices, locate, located, place_of
from fruitd.slots.partition_table import PartitionNames, read_names

A_UUID = "0fc63daf-8483-4772-8e79-3d69d8477de4"
B_UUID = "933ac7e1-2eb4-4f13-b844-0e14e2aef915"
GPT = (
    f"label: gpt\nname=boot,size=1M\nname=fruit-a,size=2M,uuid={A_UUID}\nname=fruit-b,size=2M,uuid={B_UUID}\n"
)
MBR = "label: dos\nlabel-id: 0x1234abcd\nsize=1M,type=c\nsize=2M\nsize=2M\n"
needs_sfdisk = pytest.mark.skipif(
    shutil.which("sfdisk", path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None, reason="needs sfdisk"
)


def disk(path: Path, table: str) -> Path:
    """A disk image with a partition table made by the usual tool."""
    with path.open("wb") as file:
        file.truncate(8 * 1024 * 1024)
    program = shutil.which("sfdisk", path=os.environ["PATH"] + ":/usr/sbin:/sbin") or "sfdisk"
    subprocess.run([program, "--quiet", str(path)], input=table, text=True, check=True)
    return path


class Kernel:
    """What a kernel shows of block devices, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.devices = Devices(folder / "class", folder / "dev")
        self.devices.sys_block.mkdir()
        self.devices.dev.mkdir()

    def plug(
        self, name: str, image: Path | None, partitions: int, uevent: dict[int, str] | None = None
    ) -> None:
        """A disk with partitions; `uevent` is what the kernel tells of each beyond its name."""
        home = self.folder / "devices" / name
        (home / "queue").mkdir(parents=True)
        (home / "queue/logical_block_size").write_text("512\n")
        (home / "uevent").write_text(f"DEVNAME={name}\nDEVTYPE=disk\n")
        (self.devices.sys_block / name).symlink_to(home)
        if image is not None:
            (self.devices.dev / name).symlink_to(image)
        for number in range(1, partitions + 1):
            part = home / f"{name}p{number}"
            part.mkdir()
            (part / "partition").write_text(f"{number}\n")
            more = (uevent or {}).get(number, "")
            (part / "uevent").write_text(
                f"DEVNAME={name}p{number}\nDEVTYPE=partition\nPARTN={number}\n{more}"
            )
            (self.devices.sys_block / part.name).symlink_to(part)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_what_may_stand_for_a_slot() -> None:
    """A slip of the pen in the configuration would be taken for a file's name, and a file be written."""
    assert place_of("/dev/mmcblk0p2") is None
    assert place_of("slots/a.img") is None
    assert place_of("PARTLABEL=fruit-a") == BY_LABEL / "fruit-a"
    assert place_of(f"PARTUUID={A_UUID.upper()}") == BY_UUID / A_UUID
    assert place_of("PARTUUID=1234ABCD-02") == BY_UUID / "1234abcd-02"
    for wrong in ("PARTLABEL=", "PARTLABEL=a/b", "PARTLABEL=" + 37 * "x", "PARTUUID=12", "PARTUUID=../../x"):
        with pytest.raises(ValueError):
            place_of(wrong)


def test_a_path_is_left_alone(kernel: Kernel) -> None:
    """A slot that is a file could not be used."""
    assert locate(Path("/srv/a.img"), kernel.devices) == Path("/srv/a.img")


@needs_sfdisk
@pytest.mark.parametrize("place", [BY_LABEL / "fruit-b", BY_UUID / B_UUID])
def test_gpt_names_are_found_without_udev(kernel: Kernel, tmp_path: Path, place: Path) -> None:
    """FruitOS has no udev: its slots would not be found."""
    kernel.plug("mmcblk0", disk(tmp_path / "card", GPT), 3)
    assert locate(place, kernel.devices) == kernel.devices.dev / "mmcblk0p3"


@needs_sfdisk
def test_mbr_names_are_found(kernel: Kernel, tmp_path: Path) -> None:
    """A Pi's usual card has an MBR: its slots could only be named by their path."""
    kernel.plug("mmcblk0", disk(tmp_path / "card", MBR), 3)
    assert locate(BY_UUID / "1234abcd-02", kernel.devices) == kernel.devices.dev / "mmcblk0p2"


def test_what_the_kernel_tells_is_enough(kernel: Kernel) -> None:
    """An unprivileged daemon, which may not read the disk, would not find its slots."""
    kernel.plug("vda", None, 2, {2: f"PARTNAME=fruit-b\nPARTUUID={B_UUID}\n"})
    assert locate(BY_LABEL / "fruit-b", kernel.devices) == kernel.devices.dev / "vdap2"
    assert locate(BY_UUID / B_UUID, kernel.devices) == kernel.devices.dev / "vdap2"


@needs_sfdisk
def test_a_copied_card_beside_the_first_is_refused(kernel: Kernel, tmp_path: Path) -> None:
    """An update would be written to whichever card the kernel found first: perhaps the copy in the reader."""
    kernel.plug("mmcblk0", disk(tmp_path / "card", GPT), 3)
    kernel.plug("sda", tmp_path / "card", 3)
    with pytest.raises(SlotError, match=r"mmcblk0p2 and .*sdap2, perhaps a copied card; unplug one"):
        locate(BY_LABEL / "fruit-a", kernel.devices)


def test_what_nothing_has_stays_a_name(kernel: Kernel) -> None:
    """A daemon that starts before its disk is there would end, instead of waiting and saying so."""
    assert locate(BY_LABEL / "fruit-a", kernel.devices) == BY_LABEL / "fruit-a"


def test_two_names_of_one_device_are_refused(tmp_path: Path) -> None:
    """The running slot would be written."""
    assert located(tmp_path / "a", tmp_path / "b") == {"a": tmp_path / "a", "b": tmp_path / "b"}
    with pytest.raises(SlotError, match="same device"):
        located(tmp_path / "a", tmp_path / "a")


@needs_sfdisk
def test_a_damaged_table_names_nothing(tmp_path: Path) -> None:
    """A partition would be written because of a name that a torn sector made up."""
    whole = disk(tmp_path / "card", GPT).read_bytes()
    assert read_names(_reader(whole), 512)[2] == PartitionNames(A_UUID, "fruit-a")
    for at in (*range(512, 604), *range(1024, 1024 + 3 * 128)):
        hurt = bytearray(whole)
        hurt[at] ^= 0x10
        names = read_names(_reader(bytes(hurt)), 512)
        assert names == {} or all("-" in n.uuid and not n.label for n in names.values()), at


@given(st.binary(max_size=2048))
def test_no_bytes_of_a_disk_do_harm(data: bytes) -> None:
    """A card full of rubbish in the reader would keep the daemon from starting."""
    read_names(_reader(data), 512)
    read_names(_reader(bytes(512) + b"EFI PART" + data), 512)


def _reader(data: bytes):  # type: ignore[no-untyped-def]
    return lambda offset, size: data[offset : offset + size]


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Path]:
    """A real disk with real partitions, which this kernel need not know the table of."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("needs root and loop devices")
    made = subprocess.run(
        ["losetup", "--find", "--show", str(disk(tmp_path / "card", GPT))],
        capture_output=True,
        text=True,
        check=True,
    )
    device = Path(made.stdout.strip())
    descriptor = os.open(device, os.O_RDONLY)
    try:
        for number, start in ((2, 2 * 2**20), (3, 4 * 2**20)):
            _add_partition(descriptor, number, start, 2 * 2**20)
        _await(Path(f"/sys/class/block/{device.name}p3/partition"))
        yield device
    finally:
        for number in (2, 3):
            _add_partition(descriptor, number, 0, 0)
        os.close(descriptor)
        subprocess.run(["losetup", "--detach", str(device)], check=True)


def _add_partition(disk_descriptor: int, number: int, start: int, length: int) -> None:
    """BLKPG: adds a partition, or with no length removes it (linux/blkpg.h)."""
    partition = bytearray(struct.pack("<qqi64s64s4x", start, length, number, b"", b""))
    buffer = (1, 0, len(partition)) if length else (2, 0, len(partition))
    import ctypes

    data = ctypes.create_string_buffer(bytes(partition))
    fcntl.ioctl(disk_descriptor, 0x1269, struct.pack("<iii4xQ", *buffer, ctypes.addressof(data)))


def _await(path: Path) -> None:
    for _ in range(100):
        if path.exists():
            return
        time.sleep(0.01)
    pytest.skip("this kernel adds no partitions to loop devices")


@needs_sfdisk
@pytest.mark.root
def test_a_real_disk_without_udev(loop: Path) -> None:
    """What the kernel really shows would be another tree than the one these tests make up."""
    assert locate(BY_UUID / B_UUID) == Path(f"{loop}p3")
    assert locate(BY_UUID / A_UUID) == Path(f"{loop}p2")
