"""How large a slot is, found out without opening it: reading a slot needs rights, asking for its size does not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

SECTOR_BYTES = 512
"""What the kernel counts block devices in, whatever their own sectors are."""
SYS_DEV_BLOCK = Path("/sys/dev/block")


def size_bytes_of(slot: Path, sys_dev_block: Path = SYS_DEV_BLOCK) -> int:
    """Size of a slot that is a file or a block device; 0 where it cannot be found out."""
    try:
        status = slot.stat()
        if stat.S_ISREG(status.st_mode):
            return status.st_size
        if not stat.S_ISBLK(status.st_mode):
            return 0
        number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        return int((sys_dev_block / number / "size").read_text()) * SECTOR_BYTES
    except (OSError, ValueError):
        return 0
