"""Two real pairs of images, built from Debian's packages: a kernel point release, and a security fix of four packages.

The older tree is bookworm as it stands in main; the newer ones take what has come since, all of it or four packages. All are
built from scratch, as a maintainer builds releases, with times clamped; *evolved* images are the older one with the newer
tree copied over it. A run needs root, apt's archive, and about 8 GB.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from attrs import frozen

from benchmarks.by_hand import require
from benchmarks.rows import NotMeasurableError

SUITE = "bookworm"
PACKAGES = "linux-image-cloud-amd64,openssl,ca-certificates,python3,perl,rsync,curl,apt-utils,zstd,libexpat1"
FOUR = ("libssl3", "openssl", "tzdata", "libexpat1")
IMAGE_MIB, DOCUMENTED_MIB = 560, 640
_EPOCH_S = "1783728000"
_UUID = "11111111-2222-3333-4444-555555555555"
_MAIN = f"deb http://deb.debian.org/debian {SUITE} main"
_SINCE = (
    f"deb http://deb.debian.org/debian {SUITE}-updates main",
    f"deb http://deb.debian.org/debian-security {SUITE}-security main",
)
_DOCUMENTATION = ("/usr/share/man", "/usr/share/doc")
_GONE = ("var/lib/apt/lists", "var/log", "var/cache", "etc/machine-id", "etc/apt/sources.list")


@frozen
class Pair:
    """An older and a newer image."""

    name: str
    old: Path
    new: Path


def tree(
    folder: Path,
    name: str,
    since: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
    *,
    documented: bool = False,
) -> Path:
    """A root file system at `folder / name`: main, and what has come `since`; of that `only` these packages, where named. Without
    manuals and changelogs, as docs/images.md advises, unless it is `documented`."""
    made = folder / name
    if made.exists():
        return made
    pins = folder / f"{name}.pins"
    pins.write_text(
        "".join(
            f"Package: *\nPin: release n={SUITE}-{late}\nPin-Priority: -1\n\n"
            f"Package: {' '.join(only)}\nPin: release n={SUITE}-{late}\nPin-Priority: 990\n\n"
            for late in ("security", "updates")
        )
    )
    hooks = [
        f'--setup-hook=mkdir -p "$1"/etc/apt/preferences.d; cp {pins} "$1"/etc/apt/preferences.d/pins',
        '--customize-hook=rm "$1"/etc/apt/preferences.d/pins',
    ]
    unnamed = folder / f"{name}.new"
    _run(
        "mmdebstrap", "--quiet", "--mode=root", "--variant=important", f"--include={PACKAGES}", "--format=directory",
        *(() if documented else [f"--dpkgopt=path-exclude={place}/*" for place in _DOCUMENTATION]),
        *(hooks if only else ()), SUITE, str(unnamed), _MAIN, *since,
    )  # fmt: skip
    for gone in _GONE:
        path = unnamed / gone
        if path.is_dir():
            shutil.rmtree(path)
            path.mkdir()
        else:
            path.unlink(missing_ok=True)
    for path in (unnamed, *unnamed.rglob("*")):
        if path.lstat().st_mtime > int(_EPOCH_S):
            os.utime(path, (int(_EPOCH_S),) * 2, follow_symlinks=False)
    unnamed.rename(made)
    return made


def ext4(source: Path, size_mib: int = IMAGE_MIB) -> Path:
    """The tree as ext4, built from scratch."""
    image = source.with_suffix(".ext4")
    if not image.exists():
        unnamed = image.with_suffix(".new")
        _run(
            "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-U", _UUID, "-m", "1",
            "-E", f"hash_seed={_UUID},root_owner=0:0", "-d", str(source), str(unnamed), f"{size_mib}M",
        )  # fmt: skip
        unnamed.rename(image)
    return image


def evolved(old: Path, source: Path) -> Path:
    """The older ext4 image after the newer tree was copied over it: what was not touched stays where it was."""
    image = source.with_name(f"{source.name}-evolved.ext4")
    if image.exists():
        return image
    unnamed, mounted = image.with_suffix(".new"), source.with_name(f"{source.name}.mounted")
    shutil.copyfile(old, unnamed)
    mounted.mkdir(exist_ok=True)
    _run("mount", "-o", "loop", str(unnamed), str(mounted))
    try:
        _run("rsync", "-aHAX", "--delete", "--checksum", f"{source}/", f"{mounted}/")
        _run("fstrim", str(mounted))
    finally:
        _run("umount", str(mounted))
    unnamed.rename(image)
    return image


def squashfs(source: Path) -> Path:
    """The tree as squashfs with zstd, in blocks of 128 KiB."""
    image = source.with_suffix(".squashfs")
    if not image.exists():
        _run(
            "mksquashfs",
            str(source),
            str(image),
            "-quiet",
            "-no-progress",
            "-noappend",
            "-comp",
            "zstd",
        )
    return image


def with_initrd(source: Path, *, gzipped: bool = False) -> Path:
    """The same tree with its initrd stored uncompressed, as docs/images.md advises; or in gzip, as `COMPRESS=gzip` has it."""
    made = source.with_name(f"{source.name}-{'gzipped' if gzipped else 'plain'}")
    if not made.exists():
        _run("cp", "-a", "--reflink=auto", str(source), str(made))
        for initrd in (made / "boot").glob("initrd.img-*"):
            opened = initrd.with_name("opened")
            _run("zstd", "-q", "-d", "-f", str(initrd), "-o", str(opened))
            if gzipped:
                _run("gzip", "-n", str(opened))
                opened = opened.with_name("opened.gz")
            shutil.copystat(initrd, opened)
            opened.rename(initrd)
    return made


def kernel_pair(folder: Path) -> Pair:
    """The first of them, built where it is not there yet."""
    require("mmdebstrap", "mke2fs", packages="mmdebstrap e2fsprogs")
    if os.geteuid():
        raise NotMeasurableError("building Debian's images needs root")
    return Pair("kernel, ext4 rebuilt", ext4(tree(folder, "main")), ext4(tree(folder, "kernel", _SINCE)))


def pairs(folder: Path) -> list[Pair]:
    """All of them, likewise."""
    require("mksquashfs", "rsync", "zstd", packages="squashfs-tools rsync zstd")
    rebuilt = kernel_pair(folder)
    main, kernel, old = tree(folder, "main"), tree(folder, "kernel", _SINCE), rebuilt.old
    fix = tree(folder, "fix", _SINCE, FOUR)
    return [
        rebuilt,
        Pair("kernel, ext4 evolved", old, evolved(old, kernel)),
        Pair("kernel, squashfs", squashfs(main), squashfs(kernel)),
        Pair("kernel, initrd stored", ext4(with_initrd(main)), ext4(with_initrd(kernel))),
        gzipped_pair(folder),
        Pair("four packages, ext4 rebuilt", old, ext4(fix)),
        Pair("four packages, ext4 evolved", old, evolved(old, fix)),
        Pair("four packages, squashfs", squashfs(main), squashfs(fix)),
        documented_pair(folder),
    ]


def gzipped_pair(folder: Path) -> Pair:
    """The kernel's, with initrds in gzip."""
    old, new = (with_initrd(tree(folder, *which), gzipped=True) for which in (("main",), ("kernel", _SINCE)))
    return Pair("kernel, initrd in gzip", ext4(old), ext4(new))


def documented_pair(folder: Path) -> Pair:
    """The small fix where manuals and changelogs are kept, which Debian packs with gzip."""
    main = tree(folder, "main-documented", documented=True)
    fix = tree(folder, "fix-documented", _SINCE, FOUR, documented=True)
    return Pair("four packages, documented", ext4(main, DOCUMENTED_MIB), ext4(fix, DOCUMENTED_MIB))


def _run(*command: str) -> None:
    clamped = os.environ | {"SOURCE_DATE_EPOCH": _EPOCH_S, "E2FSPROGS_FAKE_TIME": _EPOCH_S}
    done = subprocess.run(command, env=clamped, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise NotMeasurableError(f"{command[0]}: {(done.stderr or done.stdout).strip()[-300:]}")
