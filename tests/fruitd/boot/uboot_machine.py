"""Machines whose loader is the real U-Boot in QEMU, running packaging/uboot/boot.cmd. The kernel switches the machine off.

`UbootMachine` needs a U-Boot with a redundant environment on an SD card, made once by uboot/build.sh and named by
FRUIT_UBOOT. Debian's own U-Boot for QEMU keeps one copy, in flash, and cannot save it there: `StockUboot` shows with it that
boot.cmd tries nothing that it could not use up.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from fruitd.boot.port import BootBackend
from fruitd.boot.uboot_backend import EnvPlace, UbootBackend, uboot_media
from fruitd.boot.uboot_env import UbootCopy, encode_copy
from tests.fruitd.boot.disks import FAT32_LBA, LINUX, make_disk, make_ext, make_fat, need, run
from tests.fruitd.boot.running_system import boot_with, places_in

BOOT_CMD = Path(__file__).parents[3] / "packaging" / "uboot" / "boot.cmd"
STOCK = Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin")
SIZE_BYTES = 0x4000
OFFSETS = (0x100000, 0x180000)
FLASH_ENV_BYTES = 0x40000
SETTINGS = {
    "bootdelay": "0",
    "scriptaddr": "0x40200000",
    "kernel_addr_r": "0x40400000",
    "ramdisk_addr_r": "0x44000000",
    "fdt_high": "0xffffffff",
    "altbootcmd": "setenv upgrade_available 0; run bootcmd",
    "fruit_default": "a",
    "fruit_armed": "-",
    "upgrade_available": "0",
    "bootcount": "0",
    "bootlimit": "1",
}


def boot_command(devtype: str) -> str:
    """What the distribution's boot command comes to on a machine with one disk."""
    find = "mmc dev 0" if devtype == "mmc" else "virtio scan"
    load = f"load {devtype} 0:1 ${{scriptaddr}} boot.scr && source ${{scriptaddr}}"
    return f"setenv devtype {devtype}; setenv devnum 0; {find}; {load}"


def kernel() -> bytes:
    """An arm64 kernel that asks the firmware to switch the machine off (PSCI SYSTEM_OFF)."""
    head = bytearray(64)
    struct.pack_into("<I", head, 0, 0x14000010)  # b 0x40
    struct.pack_into("<QQQ", head, 8, 0, 0x1000, 0xA)  # text_offset, image_size, flags
    head[0x38:0x3C] = b"ARM\x64"
    code = (0x52800100, 0x72B08000, 0xD4000002, 0x14000000)  # mov w0,#8; movk w0,#0x8400,lsl #16; hvc #0; b .
    return bytes(head) + struct.pack("<4I", *code).ljust(4096 - 64, b"\0")


def make_card(folder: Path, kernels: str = "ab") -> Path:
    """The disk: a FAT with boot.scr, and the two slots."""
    need("qemu-system-aarch64", "mkimage", "mkfs.vfat", "mcopy", "mke2fs")
    run("mkimage", "-A", "arm", "-T", "script", "-C", "none", "-d", BOOT_CMD, folder / "boot.scr")
    make_fat(folder / "p1", {"boot.scr": (folder / "boot.scr").read_bytes()})
    for slot in "ab":
        make_ext(folder / slot, {"boot/vmlinuz" if slot in kernels else "boot/none": kernel()})
    disk = folder / "disk.img"
    make_disk(disk, [(FAT32_LBA, folder / "p1"), (LINUX, folder / "a"), (LINUX, folder / "b")])
    return disk


def qemu(uboot: Path, *more: str) -> str:
    """Run U-Boot until its kernel ends; what it said on its console."""
    machine = [
        "qemu-system-aarch64",
        "-M",
        "virt",
        "-cpu",
        "cortex-a57",
        "-m",
        "256",
        "-net",
        "none",
        "-display",
        "none",
    ]
    console = ["-serial", "stdio", "-monitor", "none", "-bios", str(uboot)]
    done = subprocess.run(
        [*machine, *console, *more], stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False
    )
    said = done.stdout.decode(errors="replace")
    assert "Starting kernel" in said, said + done.stderr.decode(errors="replace")
    return said


def started(said: str) -> str:
    """The slot whose kernel ran."""
    return re.findall(r"fruit: starting slot ([ab])", said)[-1]


class UbootMachine:
    """`BootBench` on the real U-Boot, with the environment on an SD card."""

    def __init__(self, folder: Path, kernels: str = "ab") -> None:
        named = os.environ.get("FRUIT_UBOOT", "")
        if not Path(named).is_file():
            pytest.skip("FRUIT_UBOOT names no U-Boot; make one with tests/fruitd/boot/uboot/build.sh")
        self.uboot, self.folder = Path(named), folder
        self.disk = make_card(folder, kernels)
        places = [EnvPlace(self.disk, offset, SIZE_BYTES) for offset in OFFSETS]
        self.media = uboot_media((places[0], places[1]))
        copy = encode_copy(UbootCopy(1, SETTINGS | {"bootcmd": boot_command("mmc")}), SIZE_BYTES)
        for medium in (self.media.first, self.media.second):
            medium.write(0, copy)
            medium.flush()
        self.places = places_in(folder)
        self.boots, self.said = 0, ""
        self.power_cycle()

    def start(self) -> str:
        """Let U-Boot start; the slot whose kernel ran."""
        card = ("-device", "sdhci-pci", "-drive", f"if=none,id=card,format=raw,file={self.disk}")
        self.said = qemu(self.uboot, *card, "-device", "sd-card,drive=card")
        return started(self.said)

    def backend(self) -> BootBackend:
        """See `BootBench`."""
        return UbootBackend(self.media, {slot: self.folder / slot for slot in "ab"}, self.places)

    def power_cycle(self, bootable: str = "ab") -> None:
        """See `BootBench`."""
        for _ in range(5):
            slot = self.start()
            self.boots += 1
            if slot in bootable:
                break
        boot_with(self.places, self.boots, f"fruit.slot={slot}")

    def restart(self, bootable: str = "ab") -> None:
        """See `BootBench`: to U-Boot it is the same."""
        self.power_cycle(bootable)

    def tear(self) -> None:
        """See `BootBench`: half of the second copy is rubbish."""
        self.media.second.write(SIZE_BYTES // 2, os.urandom(SIZE_BYTES // 2))
        self.media.second.flush()
        self.power_cycle()


class StockUboot:
    """Debian's U-Boot for QEMU, whose environment is one copy in flash."""

    def __init__(self, folder: Path, kernels: str = "ab") -> None:
        if not STOCK.is_file():
            pytest.skip("u-boot-qemu not installed")
        self.folder = folder
        self.disk = make_card(folder, kernels)

    def start(self, **variables: str) -> str:
        """Start with an environment; what the console said."""
        entries = SETTINGS | {"bootcmd": boot_command("virtio")} | variables
        body = b"".join(f"{name}={value}".encode() + b"\0" for name, value in entries.items())
        body = body.ljust(FLASH_ENV_BYTES - 4, b"\0")
        flash = self.folder / "flash.img"
        flash.write_bytes((struct.pack("<I", zlib.crc32(body)) + body).ljust(64 << 20, b"\xff"))
        bank = ("-drive", f"if=pflash,format=raw,index=1,file={flash}")
        drive = ("-drive", f"if=none,id=disk,format=raw,file={self.disk}")
        return qemu(STOCK, *bank, *drive, "-device", "virtio-blk-device,drive=disk")
