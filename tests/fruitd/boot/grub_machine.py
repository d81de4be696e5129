"""A machine whose loader is the real GRUB: `grub-emu` runs packaging/grub/grub.cfg on a disk image, in a tenth of a second.

What it cannot do is start a kernel: `linux` and `outb` are stood in for by functions, and GRUB says which slot it would start.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

from fruitd.boot.fat import find_root_file
from fruitd.boot.grub_backend import GrubBackend
from fruitd.boot.grubenv import GrubState, changed_block
from fruitd.boot.medium import FileMedium, Medium
from fruitd.boot.port import BootBackend
from tests.fruitd.boot.disks import LINUX, make_disk, make_ext, make_fat, need
from tests.fruitd.boot.running_system import boot_with, places_in

GRUB_CFG = Path(__file__).parents[3] / "packaging" / "grub" / "grub.cfg"
COPY_ALIAS = "GRUBEN~1.COP"
"""The short name that FAT gives `grubenv.copy`."""
PRELUDE = """
function linux {
  if [ -f "$1" ]; then
    echo "fruit-test: linux $*"
  else
    false
  fi
}
function outb {
  echo "fruit-test: outb $*"
}
function reboot {
  exit
}
set root=hd0,msdos1
set prefix=(hd1)
source (hd1)/grub.cfg
"""
SETTINGS = """
set fruit_part_a=msdos1
set fruit_part_b=msdos2
set fruit_arguments="quiet console=ttyS0"
set fruit_watchdog=ib700
set fruit_retry_s=0
"""


class GrubMachine:
    """`BootBench` on the real GRUB."""

    def __init__(self, folder: Path, kernels: str = "ab") -> None:
        need("grub-emu", "mkfs.vfat", "mcopy", "mke2fs")
        self.folder = folder
        block = changed_block(b"", GrubState("a", None))
        self.boot = folder / "boot.img"
        files = {"grubenv": block, "grubenv.copy": block, "fruit.cfg": SETTINGS.encode()}
        make_fat(self.boot, {**files, "grub.cfg": GRUB_CFG.read_bytes()})
        for slot in "ab":
            make_ext(
                folder / slot, {"boot/vmlinuz" if slot in kernels else "boot/none": f"kernel {slot}".encode()}
            )
        make_disk(folder / "disk.img", [(LINUX, folder / "a"), (LINUX, folder / "b")])
        (folder / "device.map").write_text(f"(hd0) {folder}/disk.img\n(hd1) {self.boot}\n")
        (folder / "emu").mkdir()
        (folder / "emu" / "grub.cfg").write_text(PRELUDE)
        self.places = places_in(folder)
        self.media = (self._medium("grubenv"), self._medium(COPY_ALIAS))
        self.boots, self.said = 0, ""
        self.power_cycle()

    def _medium(self, name: str) -> Medium:
        with self.boot.open("rb") as file:
            found = find_root_file(lambda offset, length: os.pread(file.fileno(), length, offset), name)
        assert found.size_bytes == 1024
        medium = _Part(self.boot, found.offset)
        medium.size_bytes = found.size_bytes
        return medium

    def grub(self) -> str | None:
        """Let GRUB start; the slot it starts first, None where it starts none. What it said is in `said`."""
        terminal, slave = pty.openpty()
        command = [
            "grub-emu",
            "-m",
            str(self.folder / "device.map"),
            "-d",
            str(self.folder / "emu"),
            "-r",
            "host",
        ]
        process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, close_fds=True)
        os.close(slave)
        said = b""
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            said += part
        os.close(terminal)
        process.wait(30)
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode(errors="replace")).replace("\r", "")
        self.said = text
        started = re.search(r"fruit: starting slot ([ab])", text)
        return started.group(1) if started else None

    def backend(self) -> BootBackend:
        """See `BootBench`."""
        slots = {slot: self.folder / slot for slot in "ab"}
        return GrubBackend(self.media, slots, self.places)

    def power_cycle(self, bootable: str = "ab") -> None:
        """See `BootBench`."""
        for _ in range(5):
            slot = self.grub()
            assert slot is not None, self.said
            self.boots += 1
            if slot in bootable:
                break
        boot_with(self.places, self.boots, f"fruit.slot={slot}")

    def restart(self, bootable: str = "ab") -> None:
        """See `BootBench`: to GRUB it is the same."""
        self.power_cycle(bootable)

    def tear(self) -> None:
        """See `BootBench`: the second sector of what is written next is rubbish, the first one is as it was."""
        self.media[0].write(512, os.urandom(512))
        self.media[0].flush()
        self.power_cycle()


class _Part(FileMedium):
    """A file of 1,024 bytes within an image."""

    size_bytes = 0

    def read(self, offset: int, length: int) -> bytes:
        """See `Medium.read`: ends where the file does."""
        return super().read(offset, min(length, self.size_bytes - offset))
