"""A root file system with fruitd in it: Debian's packages, fruitd's own, and what lets one image serve both slots.

The image is mounted read-only and never changes: nodes seed from it. What changes is on the data partition, which is /var; the
node's configuration is /var/etc/fruitd, where /etc/fruitd points. The kernel and its initrd are in the image, in /boot.

Two stages. `make_base` asks a Debian mirror, takes minutes, and gives an archive that is worth keeping. `make_root` puts fruitd,
its units and what the caller adds on top. Both need root: files belong to many users.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import shutil
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from fruitd.errors import RefusedError
from fruitd.image.disk import make_file_system
from fruitd.image.programs import need, run
from fruitd.unit_limits import FILE_NAME, drop_ins

SUITE = "bookworm"
MIRRORS = (
    "deb http://deb.debian.org/debian bookworm main",
    "deb http://deb.debian.org/debian-security bookworm-security main",
)
PACKAGES = (
    "systemd-sysv", "udev", "kmod", "iproute2", "python3", "linux-image-amd64", "initramfs-tools", "lz4", "e2fsprogs", "dbus",
    "libstdc++6",
)  # fmt: skip
MODULES = (
    "kernel/drivers/virtio/*", "kernel/drivers/block/virtio_blk.ko", "kernel/drivers/net/virtio_net.ko",
    "kernel/drivers/net/net_failover.ko", "kernel/net/core/failover.ko", "kernel/drivers/char/virtio_console.ko",
    "kernel/fs/ext4/*", "kernel/fs/jbd2/*", "kernel/fs/mbcache.ko", "kernel/lib/crc*.ko", "kernel/block/t10-pi.ko",
    "kernel/crypto/crc*", "kernel/arch/x86/crypto/crc*", "kernel/drivers/watchdog/*", "kernel/drivers/i2c/*",
    "kernel/drivers/gpio/*", "kernel/fs/configfs/*", "kernel/fs/fat/*", "kernel/fs/nls/*", "kernel/fs/autofs/*",
    "kernel/drivers/ata/*", "kernel/drivers/scsi/s[cdr]*", "kernel/drivers/nvme/*", "kernel/drivers/net/ethernet/intel/e1000*",
)  # fmt: skip
"""The kernel's modules are 400 MiB, of which a node uses five: what is not named here stays out of the image."""
LEFT_OUT = (
    "/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*",
    "/usr/share/i18n/*", "/usr/lib/udev/hwdb.d/*", "/lib/udev/hwdb.d/*", "/usr/lib/x86_64-linux-gnu/gconv/*",
    "/lib/modules/*/kernel/*", "/boot/System.map*", "/usr/share/initramfs-tools/*/*/udev",
    "/usr/share/initramfs-tools/hooks/udev",
)  # fmt: skip
"""The initrd, too, does without udev: it loads the modules it is told and looks for one partition."""
_REMOVED = ("usr/share/perl", "usr/lib/*/perl")
"""Packages are configured with it, a running node never uses it; `perl-base`, which is essential, stays."""
HOME = "opt/fruitd"
USER_ID = 467
"""Of fruitd's user, in every image: what the data partition holds belongs to a number, and one that the next release gives to
somebody else locks the node out of its own state."""
_PET = """read -r arguments < /proc/cmdline
case " $arguments " in
*" fruit.trial "*) [ -c /dev/watchdog ] && printf . > /dev/watchdog ;;
esac
"""
_INITRAMFS = {
    "conf.d/fruit": "MODULES=list\nCOMPRESS=lz4\n",
    "modules": "virtio_pci\nvirtio_blk\nahci\nnvme\nsd_mod\next4\ncrc32c_generic\n",
    "hooks/fruit": """#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
copy_exec /sbin/blkid
manual_add_modules ib700wdt i6300esb iTCO_wdt
""",
    "scripts/init-top/fruit": """#!/bin/sh
[ "$1" = prereqs ] && exit 0
read -r arguments < /proc/cmdline
for word in $arguments; do
    case "$word" in fruit.watchdog=*) modprobe -q "${word#*=}" ;; esac
done
"""
    + _PET,
    "scripts/init-bottom/fruit": """#!/bin/sh
[ "$1" = prereqs ] && exit 0
"""
    + _PET
    + """mount -n -o move /dev "$rootmnt/dev"
""",
}
"""What the initrd is made from: it finds the root by its partition, which needs blkid, and hands /dev on as udev's would. In a
trial it pets the watchdog when it begins and when it ends (`fruit.watchdog=` names the driver): every start of something has the
whole timeout."""
_MASKED = (
    "proc-sys-fs-binfmt_misc.automount", "systemd-binfmt.service", "systemd-pstore.service", "systemd-repart.service",
    "systemd-firstboot.service", "sys-fs-fuse-connections.mount", "dev-hugepages.mount", "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount", "systemd-logind.service", "systemd-user-sessions.service", "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service", "getty@tty1.service", "e2scrub_all.timer", "e2scrub_reap.service",
    "dpkg-db-backup.timer", "fstrim.timer", "apt-daily.timer", "apt-daily-upgrade.timer",
)  # fmt: skip
"""What a machine without people, packages or swapped binaries does not need; each costs seconds of a small one's start."""
_FSTAB = """\
PARTLABEL=fruit-data  /var        ext4  defaults,noatime                                      0 2
PARTLABEL=fruit-boot  /boot/grub  ext2  noatime,nodev,nosuid,noexec                           0 0
tmpfs                 /tmp        tmpfs mode=1777,nosuid,nodev,size=25%                       0 0
"""
_SLOTS = (Path("/dev/disk/by-partlabel/fruit-a"), Path("/dev/disk/by-partlabel/fruit-b"))
_BOOT_ENVIRONMENT = (Path("/boot/grub/grubenv"), Path("/boot/grub/grubenv.copy"))
"""As `fruitd.image.disk` lays a disk out: the units of this image may write these, and nothing else."""
_UNITS = (
    "systemd-networkd.service", "systemd-network-generator.service", "fruitd.service", "fruitd-keeper.socket",
    "fruitd-trial-guard.service",
)  # fmt: skip
_EPOCH_S = 1_700_000_000
"""Time stamps of what this makes itself: two images of the same content are the same."""
_LAUNCHER = """\
#!/usr/bin/python3 -I
import sys
from {module} import main
sys.exit(main())
"""
_COMMANDS = {"fruitd": "fruitd.__main__", "fruitd-keeper": "fruitd.keeper.__main__", "fruit": "fruitd.cli"}


@frozen
class RootPlan:
    """What a root image is made of."""

    base: Path
    """The archive of `make_base`."""
    size_bytes: int
    """Size of the file system, and of the slots it is for."""
    fruitd: str
    """What pip installs: a wheel, a folder with pyproject.toml, or a requirement."""
    packaging: Path
    """The folder of that name: units, users, udev's rules."""
    constraints: Path | None = None
    overlay: tuple[Path, ...] = ()
    """Folders whose files are put over everything else, in order."""
    enable: tuple[str, ...] = ()
    """More units to enable."""


def check_root() -> None:
    """Raise `RefusedError` unless run by root."""
    if os.geteuid() != 0:
        raise RefusedError("a root file system is made by root: its files belong to many users; use sudo")


def make_base(output: Path, *, packages: Sequence[str] = PACKAGES, mirrors: Sequence[str] = MIRRORS) -> None:
    """Debian as an archive, from its mirrors. Raises `RefusedError`."""
    check_root()
    need("mmdebstrap")
    options = [f"path-exclude={pattern}" for pattern in LEFT_OUT]
    options += [f"path-include=/lib/modules/*/{pattern}" for pattern in MODULES]
    unfinished = output.with_name(f"unfinished-{output.name}")
    command = ["mmdebstrap", "--variant=essential", f"--include={','.join(packages)}"]
    command += [f"--dpkgopt={option}" for option in options]
    command += [
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=force-confold",
    ]
    try:
        with tempfile.TemporaryDirectory(prefix="fruit-base-") as scratch:
            for name, text in _INITRAMFS.items():
                path = Path(scratch) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
                path.chmod(0o755 if text.startswith("#!") else 0o644)
            into = ["mkdir -p $1/etc/initramfs-tools", f"cp -r {scratch}/. $1/etc/initramfs-tools/"]
            hooks = [f"--essential-hook={line}" for line in into]
            run([*command, *hooks, SUITE, unfinished, *mirrors], log=output.with_suffix(".log"))
        unfinished.rename(output)
    finally:
        unfinished.unlink(missing_ok=True)


def make_root(plan: RootPlan, output: Path) -> None:
    """Write the file system into the new file `output`. Raises `RefusedError`; then there is no file."""
    check_root()
    need("mke2fs", "tar")
    with tempfile.TemporaryDirectory(prefix="fruit-root-", dir=output.parent) as scratch:
        root = Path(scratch) / "root"
        root.mkdir(mode=0o755)
        run(["tar", "-C", root, "-xpf", plan.base, "--numeric-owner", "--exclude=./dev/*"])
        _put_fruitd(root, plan)
        _arrange(root)
        for folder in plan.overlay:
            run(["cp", "-a", "--no-preserve=ownership", f"{folder}/.", root])
        for unit in (*_UNITS, *plan.enable):
            run(["systemctl", "--root", root, "enable", "--quiet", unit])
        _set_times(root)
        made = Path(scratch) / "root.img"
        fixed = uuid.uuid5(uuid.NAMESPACE_URL, "org.fruit-testbed.os/rootfs")
        features = (
            "-b",
            "4096",
            "-N",
            "16384",
            "-O",
            "^has_journal",
            "-U",
            str(fixed),
            "-E",
            f"hash_seed={fixed},lazy_itable_init=0",
        )
        make_file_system(made, root, plan.size_bytes, "ext4", "fruit-root", *features)
        made.rename(output)


def _put_fruitd(root: Path, plan: RootPlan) -> None:
    """pip runs outside and installs for the Python inside; nothing is compiled for another machine than this kind."""
    home = root / HOME
    version = next(path.name[len("python") :] for path in sorted((root / "usr/lib").glob("python3.*")))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input"]
    wheels = root.parent / "wheels"
    run([*pip, "wheel", "--no-deps", "--wheel-dir", wheels, plan.fruitd])
    constrained = ["--constraint", str(plan.constraints)] if plan.constraints else []
    chosen = ["--python-version", version, "--only-binary=:all:", "--no-compile", "--target", str(home)]
    run([*pip, "install", *chosen, *constrained, *map(str, wheels.glob("*.whl"))])
    shutil.rmtree(home / "bin", ignore_errors=True)
    (root / "usr/lib/python3/dist-packages/fruitd.pth").write_text(f"/{HOME}\n")
    for name, module in _COMMANDS.items():
        launcher = root / "usr/bin" / name
        launcher.write_text(_LAUNCHER.format(module=module))
        launcher.chmod(0o755)
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        for folder in (home, root / "usr/lib" / f"python{version}"):
            _compile(folder, root)
    for unit in (plan.packaging / "systemd").glob("fruitd*.*"):
        if unit.suffix == ".sysusers":
            text = unit.read_text().replace("u fruitd -", f"u fruitd {USER_ID}")
            (root / "usr/lib/sysusers.d" / f"{unit.stem}.conf").write_text(text)
        else:
            shutil.copy(unit, root / "etc/systemd/system" / unit.name)
    for unit_name, text in drop_ins(_SLOTS, _BOOT_ENVIRONMENT).items():
        folder = root / "etc/systemd/system" / f"{unit_name}.d"
        folder.mkdir()
        (folder / FILE_NAME).write_text(text)
    for rules in (plan.packaging / "udev").glob("*.rules"):
        shutil.copy(rules, root / "usr/lib/udev/rules.d" / rules.name)
    run(["systemd-sysusers", f"--root={root}"])


def _compile(folder: Path, root: Path) -> None:
    """A read-only system never keeps what Python compiles: it has to be there, and valid whatever the time stamps say."""
    compileall.compile_dir(
        str(folder),
        quiet=2,
        force=True,
        stripdir=str(root),
        prependdir="/",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        workers=0,
    )


def _arrange(root: Path) -> None:
    """One image for both slots: nothing in it says which slot, which machine or which hour it is."""
    boot = root / "boot"
    for link, pattern in (("vmlinuz", "vmlinuz-*"), ("initrd.img", "initrd.img-*")):
        target = max(boot.glob(pattern))
        (boot / link).unlink(missing_ok=True)
        (boot / link).symlink_to(target.name)
    (boot / "grub").mkdir(exist_ok=True)
    (root / "etc/fstab").write_text(_FSTAB)
    (root / "etc/machine-id").write_text("")
    (root / "etc/fruitd").symlink_to("../var/etc/fruitd")
    (root / "etc/hostname").unlink(missing_ok=True)
    for unit in _MASKED:
        (root / "etc/systemd/system" / unit).unlink(missing_ok=True)
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    for pattern in _REMOVED:
        for path in root.glob(pattern):
            shutil.rmtree(path)
    for name in ("etc/resolv.conf", "var/lib/apt", "var/cache", "var/log"):
        path = root / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
            path.mkdir()
        else:
            path.unlink(missing_ok=True)


def _set_times(root: Path) -> None:
    """Files made here get one time; those of Debian have theirs."""
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder) / name
            if path.lstat().st_mtime > _EPOCH_S:
                os.utime(path, (_EPOCH_S, _EPOCH_S), follow_symlinks=False)
