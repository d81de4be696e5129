"""Small real disks for real boot loaders: a partition table, a FAT, two ext file systems; made without root."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

SECTOR = 512
MIB = 1024 * 1024
FAT32_LBA, LINUX = 0x0C, 0x83


def need(*programs: str) -> None:
    """Skip the test by the name of what is missing."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")


def run(*command: str | Path) -> str:
    """Run a program that has to succeed; what it printed."""
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def make_fat(image: Path, files: Mapping[str, bytes], size_bytes: int = 8 * MIB, kind: str = "16") -> None:
    """A FAT file system with these files in its root folder."""
    image.write_bytes(b"")
    with image.open("r+b") as file:
        file.truncate(size_bytes)
    run("mkfs.vfat", "-F", kind, "-s", "1", image)
    folder = image.with_name(image.name + ".files")
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
        run("mcopy", "-i", image, folder / name, "::/")


def make_ext(image: Path, files: Mapping[str, bytes], size_bytes: int = 8 * MIB) -> None:
    """An ext4 file system with these files."""
    folder = image.with_name(image.name + ".files")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    with image.open("wb") as file:
        file.truncate(size_bytes)
    run("mke2fs", "-F", "-q", "-t", "ext4", "-O", "^metadata_csum", "-d", folder, image)


def make_disk(disk: Path, partitions: Sequence[tuple[int, Path]], size_bytes: int = 64 * MIB) -> list[int]:
    """A disk with an MBR and these partitions one after the other; returns where each begins. The first at 4 MiB."""
    table = bytearray(SECTOR)
    struct.pack_into("<I", table, 440, 0x12345678)
    table[510:] = b"\x55\xaa"
    starts, at = [], 4 * MIB
    with disk.open("wb") as file:
        file.truncate(size_bytes)
        for index, (kind, content) in enumerate(partitions):
            size = content.stat().st_size
            entry = struct.pack(
                "<B3sB3sII", 0, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", at // SECTOR, size // SECTOR
            )
            table[446 + 16 * index : 462 + 16 * index] = entry
            file.seek(at)
            file.write(content.read_bytes())
            starts.append(at)
            at += size
        file.seek(0)
        file.write(table)
    return starts
