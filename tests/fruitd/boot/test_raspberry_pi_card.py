"""If one of these failed, a card made by the project's own scripts would not start, or start one slot only."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from fruitd.boot.autoboot import FILE_BYTES, autoboot_for, decode
from fruitd.boot.medium import FileMedium
from fruitd.boot.tryboot_backend import FatMedium
from tests.fruitd.boot.disks import MIB, need, run

PI = Path(__file__).parents[3] / "packaging" / "raspberry-pi"


def make_slot(folder: Path, name: str, text: bytes = b"hello") -> Path:
    """A small slot image, with as much in it as the scripts ask for."""
    need("mksquashfs", "mkfs.vfat", "mcopy", "mmd")
    boot, root = folder / "boot", folder / "root"
    (boot / "overlays").mkdir(parents=True, exist_ok=True)
    (root / "etc").mkdir(parents=True, exist_ok=True)
    for file in ("config.txt", "cmdline.txt"):
        (boot / file).write_bytes((PI / file).read_bytes())
    for file in ("vmlinuz", "initrd.img", "bcm2711-rpi-4-b.dtb", "overlays/a rather long name.dtbo"):
        (boot / file).write_bytes(b"\x7f" * 3000)
    (root / "etc" / "hostname").write_bytes(text)
    run(PI / "make-slot-image", boot, root, folder / name, "40")
    return folder / name


def test_the_same_input_gives_the_same_image(tmp_path: Path) -> None:
    """Two maintainers could not sign the same release, and a rebuilt image would be a download for every node."""
    first = make_slot(tmp_path, "first.img")
    second = make_slot(tmp_path / "elsewhere", "second.img")
    for file in (tmp_path / "elsewhere").rglob("*"):
        os.utime(file, (1_500_000_000, 1_500_000_000))
    run(PI / "make-slot-image", tmp_path / "elsewhere/boot", tmp_path / "elsewhere/root", second, "40")
    assert first.read_bytes() == second.read_bytes()
    other = make_slot(tmp_path, "third.img", b"other")
    assert other.read_bytes() != first.read_bytes()
    files = run("mdir", "-b", "-/", "-i", first, "::/")
    assert {"root.squashfs", "vmlinuz", "config.txt"} <= {
        line.rsplit("/", 1)[-1] for line in files.splitlines()
    }
    assert "a rather long name.dtbo" in files


def test_a_card_has_both_slots_and_a_first_partition_the_backend_can_change(tmp_path: Path) -> None:
    """A new node could not take its first update."""
    need("sfdisk", "mke2fs")
    slot, card = make_slot(tmp_path, "slot.img"), tmp_path / "card.img"
    run(PI / "make-card", slot, card, "16")
    with card.open("rb") as opened:
        table = opened.read(512)
    starts = [struct.unpack_from("<II", table, 446 + 16 * i + 8) for i in range(4)]
    assert [(start * 512 // MIB, size * 512 // MIB) for start, size in starts] == [
        (4, 64),
        (68, 40),
        (108, 40),
        (148, 16),
    ]
    for start, size in starts[1:3]:
        assert FileMedium(card, start * 512).read(0, size * 512) == slot.read_bytes(), (
            "one image serves both slots"
        )
    first = tmp_path / "first"
    first.write_bytes(FileMedium(card, starts[0][0] * 512).read(0, 64 * MIB))
    for name in ("autoboot.txt", "autoboot.bak"):
        content = FatMedium(first, name).read(0, 1000)
        assert len(content) == FILE_BYTES
        assert decode(content) == autoboot_for("a", {"a": 2, "b": 3})


@pytest.mark.parametrize(
    ("partition", "mode", "device"),
    [
        (2, 1, "/dev/mmcblk0p2"),
        (3, 1, "/dev/mmcblk0p3"),
        (3, 4, "/dev/sda3"),
        (2, 6, "/dev/nvme0n1p2"),
        (0, 1, None),
    ],
)
@pytest.mark.parametrize("shell", [("dash",), ("busybox", "sh")])
def test_the_initramfs_mounts_the_slot_that_the_firmware_booted(
    tmp_path: Path, partition: int, mode: int, device: str | None, shell: tuple[str, ...]
) -> None:
    """A trial would run the kernel of the new release on the root of the old one."""
    need(shell[0])
    for name, value in (("partition", partition), ("boot-mode", mode)):
        (tmp_path / name).write_bytes(value.to_bytes(4, "big"))
    script = f"""
        mount() {{ echo "mount $*"; }}
        mkdir() {{ :; }}
        panic() {{ echo "panic $*"; exit 1; }}
        FRUIT_TREE={tmp_path} rootmnt=/root
        . {PI}/initramfs/scripts-fruit
        [ -n "$WAIT" ] || fruit_device || exit 1
        [ -z "$WAIT" ] || mountroot
    """
    shown = subprocess.run(
        [*shell, "-c", script], capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]}
    )
    assert shown.stdout.strip() == (device or "")
    waiting = {"PATH": os.environ["PATH"], "WAIT": "1", "FRUIT_WAIT_S": "0"}
    said = subprocess.run(
        [*shell, "-c", script], capture_output=True, text=True, check=False, env=waiting
    ).stdout
    if device is None:
        assert said.startswith("panic fruit: the firmware does not say")
    elif not Path(device).exists():
        assert said.startswith(f"panic fruit: {device} did not appear"), (
            "a root that is not there is a panic, and so a way back"
        )


@pytest.mark.parametrize("script", ["make-slot-image", "make-card"])
def test_the_scripts_say_how_they_are_used(script: str) -> None:
    """Someone with a card in hand would have to read shell."""
    done = subprocess.run([PI / script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert script in done.stderr
