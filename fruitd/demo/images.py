"""Real ext4 images for the demo and the tests, made as an ordinary user from real files of this machine."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

from attrs import frozen

from fruitd.errors import RefusedError

HEALTH_SCRIPT = "usr/lib/fruit/health"
"""A health check that travels inside the image, as with greenboot: the node runs it during the trial."""
FILES_BYTES = 30 * 1024 * 1024
_ROOM = 2.1
"""Image size to files: a new root file system is about half full."""
_UUID = "5b1f6f2e-8a0a-4f5d-9b5e-6672756974ab"
_GOOD = "#!/bin/sh\necho all services answer\n"
_HANGS = """#!/bin/sh
# As a kernel that stands still: nothing of this machine does anything any more.
read -r _ _ _ daemon _ < "/proc/$PPID/stat"
kill -STOP "$daemon"
"""
_BAD = "#!/bin/sh\necho the web server does not answer on port 80\nexit 1\n"


@frozen
class DemoImages:
    """Paths of the images, in the order they are released; `factory` is what a new card comes with."""

    factory: Path
    good: tuple[Path, Path]
    bad: Path
    hanging: Path


def make_images(directory: Path, own: Path | None = None, *, files_bytes: int = FILES_BYTES) -> DemoImages:
    """Make the factory image and releases 1 to 4 in `directory`; `own` is the user's image for release 1.

    `files_bytes` of real files go into release 1, and about half of them into the factory image.

    Release 2 is release 1 with a machine that hangs, release 3 is release 1 with a few files changed; release 4 has a health
    check that fails.
    Raises RefusedError where e2fsprogs is missing or `own` is not an ext4 image.
    """
    tree = directory / "tree"
    release = [directory / f"rootfs-{n}.ext4" for n in (1, 2, 3, 4)]
    factory = directory / "rootfs-factory.ext4"
    if own is None:
        files = _real_files(files_bytes)
        _copy_files(files[: len(files) // 2], tree)
        _describe(tree, "factory", _GOOD)
        _make_ext4(tree, factory, files_bytes)
        _copy_files(files[len(files) // 2 :], tree)
        _describe(tree, "release 1", _GOOD)
        _make_ext4(tree, release[0], files_bytes)
        shutil.rmtree(tree)
    else:
        _require_ext4(own)
        shutil.copyfile(own, factory)
        shutil.copyfile(own, release[0])
        _change(release[0], directory, "release 1", _GOOD)
    shutil.copyfile(release[0], release[1])
    _change(release[1], directory, "release 2", _HANGS)
    shutil.copyfile(release[0], release[2])
    _change(release[2], directory, "release 3", _GOOD, extra_bytes=files_bytes // 20)
    shutil.copyfile(release[2], release[3])
    _change(release[3], directory, "release 4", _BAD)
    return DemoImages(factory, (release[0], release[2]), release[3], release[1])


def read_file(image: Path, path: str) -> bytes | None:
    """A file out of an ext4 image, without mounting it; None where it is not there."""
    found = _run_debugfs(image, f"cat /{path}", write=False)
    return found.stdout if found.stdout else None


def _real_files(size_bytes: int) -> list[tuple[Path, Path]]:
    """About so many bytes of real files that are on every machine this runs on, always in the same order.

    Each with its path inside the image: Python's standard library, then what is installed beside this package.
    """
    found: list[tuple[Path, Path]] = []
    found_bytes = 0
    roots = (
        ("usr/lib/python3", sysconfig.get_path("stdlib")),
        ("usr/lib/fruitd", sysconfig.get_path("platlib")),
    )
    for inside, root in ((Path(inside), Path(root)) for inside, root in roots):
        for path in sorted([*root.rglob("*.py"), *root.rglob("*.so")]):
            parts = path.relative_to(root).parts
            file_bytes = path.stat().st_size
            if {"site-packages", "test"} & set(parts) or file_bytes > size_bytes // 8:
                continue
            if found_bytes + file_bytes > size_bytes:
                return found
            found.append((path, inside / path.relative_to(root)))
            found_bytes += file_bytes
    return found


def _copy_files(files: list[tuple[Path, Path]], tree: Path) -> None:
    for path, inside in files:
        target = tree / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _describe(tree: Path, name: str, health: str) -> None:
    for relative, text in ((HEALTH_SCRIPT, health), ("etc/fruit-release", f"{name}\n")):
        path = tree / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _make_ext4(tree: Path, image: Path, files_bytes: int) -> None:
    blocks = int(files_bytes * _ROOM) // 4096
    command = [
        _tool("mke2fs"), "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-O", "^has_journal", "-U", _UUID,
        "-E", f"hash_seed={_UUID},root_owner=0:0", "-d", str(tree), str(image), str(blocks),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RefusedError(f"mke2fs could not make {image.name}: {done.stderr.strip()[:200]}")


def _change(image: Path, directory: Path, name: str, health: str, *, extra_bytes: int = 0) -> None:
    """Change a few files inside an image, as a small update would."""
    pieces = {HEALTH_SCRIPT: health.encode(), "etc/fruit-release": f"{name}\n".encode()}
    if extra_bytes:
        pieces["usr/lib/fruit/new-tool"] = _shifted_copy(extra_bytes)
    for directory_name in ("/usr", "/usr/lib", "/usr/lib/fruit", "/etc"):
        _run_debugfs(image, f"mkdir {directory_name}", write=True)
    for relative, data in pieces.items():
        source = directory / "change.tmp"
        source.write_bytes(data)
        _run_debugfs(image, f"rm /{relative}", write=True)
        _run_debugfs(image, f"write {source} /{relative}", write=True)
        source.unlink()
        if read_file(image, relative) != data:
            raise RefusedError(f"{image.name}: no room for /{relative}; the image needs some free space")


def _shifted_copy(size_bytes: int) -> bytes:
    """Real bytes at another alignment: no block of them equals a block of the files they came from."""
    data = b"".join(path.read_bytes() for path, _ in _real_files(size_bytes))
    return b"\n" + data[: size_bytes - 1]


def _require_ext4(image: Path) -> None:
    with open(image, "rb") as file:
        file.seek(1080)
        if file.read(2) != b"\x53\xef":
            raise RefusedError(f"{image} is not an ext4 image; the demo has to change a file inside it")


def _run_debugfs(image: Path, command: str, *, write: bool) -> subprocess.CompletedProcess[bytes]:
    arguments = [_tool("debugfs"), *(["-w"] if write else []), "-R", command, str(image)]
    return subprocess.run(arguments, capture_output=True, check=False)


def _tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise RefusedError(f"{name} is not installed; on Debian and Raspberry Pi OS: apt install e2fsprogs")
    return found
