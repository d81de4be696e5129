"""How large a slot is: if it failed, maintainers would release images that do not fit, or be refused ones that do."""

from __future__ import annotations

import os
from pathlib import Path

from fruitd.slots.size import size_bytes_of


def test_a_file_a_device_and_what_is_neither(tmp_path: Path) -> None:
    """A node would tell the wrong size, or fail to start over a slot that is not there."""
    file = tmp_path / "slot-a"
    file.write_bytes(bytes(12_345))
    assert size_bytes_of(file) == 12_345
    assert size_bytes_of(tmp_path) == 0
    assert size_bytes_of(tmp_path / "absent") == 0
    assert size_bytes_of(Path(os.devnull)) == 0


def test_a_block_device_is_measured_by_what_the_kernel_says_of_it(tmp_path: Path) -> None:
    """Without the right to open its slots the daemon would not know what fits."""
    devices = [p for p in Path("/dev").iterdir() if p.is_block_device()]
    for device in devices[:1]:
        number = device.stat().st_rdev
        folder = tmp_path / f"{os.major(number)}:{os.minor(number)}"
        folder.mkdir()
        (folder / "size").write_text("2048\n")
        assert size_bytes_of(device, tmp_path) == 2048 * 512
        (folder / "size").write_text("not a number\n")
        assert size_bytes_of(device, tmp_path) == 0
