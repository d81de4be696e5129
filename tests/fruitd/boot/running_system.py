"""A pretended /proc and /sys: what a system sees of how it was booted."""

from __future__ import annotations

from pathlib import Path

from fruitd.boot.running import Places

PI4 = b"raspberrypi,4-model-b\0brcm,bcm2711\0"


def places_in(folder: Path) -> Places:
    """Places under a folder; the root file system there is on no block device that is a slot."""
    (folder / "proc" / "chosen" / "bootloader").mkdir(parents=True, exist_ok=True)
    return Places(
        cmdline=folder / "cmdline",
        boot_id=folder / "boot_id",
        device_tree=folder / "proc",
        root=Path("/proc"),  # on no block device
        sys_block=folder / "sys",
    )


def boot_with(places: Places, number: int, arguments: str) -> None:
    """Begin a boot: another boot id, and what the loader told the kernel."""
    places.boot_id.write_text(f"0000-{number}\n")
    places.cmdline.write_text(f"console=ttyS0 {arguments}\n")


def put_tree(places: Places, *, partition: int, tryboot: bool, date_s: int, compatible: bytes = PI4) -> None:
    """What the Raspberry Pi's firmware puts into the device tree."""
    (places.device_tree / "compatible").write_bytes(compatible)
    loader = places.device_tree / "chosen" / "bootloader"
    for name, value in (("partition", partition), ("tryboot", int(tryboot)), ("build-timestamp", date_s)):
        (loader / name).write_bytes(value.to_bytes(4, "big"))
