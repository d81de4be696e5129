"""What the virtual machines are made of: the root image, releases that differ from it in a known way, disks and a swarm."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field, frozen

from fruitd.image.disk import DiskPlan, make_disk
from fruitd.image.root import USER_ID, RootPlan, make_base, make_root
from fruitd.image.root import __file__ as root_module
from tests.vm.machine import Machine, Network, kvm_runs

PROJECT = Path(__file__).parents[2]
HERE = Path(__file__).parent
MIB = 1024 * 1024
SLOT_BYTES = 320 * MIB
DATA_BYTES = 96 * MIB
RESOURCE = "org.fruit-testbed.os/rootfs"
SWARM = "vm-fleet"
BALLAST_BYTES = 6 * MIB
"""What each release changes: enough that fetching it takes a while in which power can fail."""

PATIENCE_S = 1800.0
"""For one thing to happen: a guest that starts in 40 s on a quiet machine takes ten times as long on a busy one."""

PANIC = "#!/bin/sh\nexit 1\n"
"""As /sbin/init: the kernel panics when its first program ends."""
HANG = "#!/bin/sh\nexec sleep 1000000\n"
"""As /sbin/init: nothing happens any more, and nothing says so."""
UNWELL = "#!/bin/sh\necho the camera does not answer\nexit 1\n"
"""As the health command."""


def cache() -> Path:
    """Where images are kept between runs: outside the repository."""
    folder = Path(os.environ.get("FRUIT_VM_CACHE") or Path.home() / ".cache/fruitd-vm")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _digest(paths: Sequence[Path], more: str = "") -> str:
    found = hashlib.sha256(more.encode())
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                found.update(str(file).encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:16]


def root_image() -> Path:
    """The root image of release 1, made now unless one of the same sources is there."""
    base = cache() / f"base-{_digest([Path(root_module)])}.tar"
    if not base.exists():
        _forget("base-*")
        make_base(base)
    sources = [PROJECT / name for name in ("fruitd", "swarm", "bep35", "hw", "packaging", "pyproject.toml")]
    image = cache() / f"root-{_digest([*sources, HERE / 'overlay'], base.name)}.img"
    if not image.exists():
        _forget("root-*")
        make_root(
            RootPlan(
                base,
                SLOT_BYTES,
                str(PROJECT),
                PROJECT / "packaging",
                PROJECT / "constraints.txt",
                overlay=(HERE / "overlay",),
                enable=("door.service",),
            ),
            image,
        )
    return image


def _forget(pattern: str) -> None:
    for old in cache().glob(pattern):
        old.unlink()


def changed(image: Path, output: Path, release: int, files: dict[str, str]) -> Path:
    """The image of another release: other files, a file of its own bytes, and everything else where it was.

    `files`: path -> what a shell script says there. Symbolic links of that name are replaced.
    """
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", image, output], check=True)
    scratch = output.with_suffix(".files")
    scratch.mkdir()
    (scratch / "ballast").write_bytes(random.Random(release).randbytes(BALLAST_BYTES))
    (scratch / "release").write_text(f"{release}\n")
    lines = [
        f"rm /usr/share/ballast\nwrite {scratch}/ballast /usr/share/ballast",
        f"rm /etc/fruit-release\nwrite {scratch}/release /etc/fruit-release",
    ]
    for number, (path, text) in enumerate(files.items()):
        (scratch / str(number)).write_text(text)
        lines.append(f"rm {path}\nwrite {scratch}/{number} {path}\nsif {path} mode 0100755")
    commands = scratch / "commands"
    commands.write_text("\n".join(lines) + "\n")
    subprocess.run(["debugfs", "-w", "-f", commands, output], check=True, capture_output=True)
    checked = subprocess.run(["e2fsck", "-fn", output], check=False, capture_output=True)
    assert checked.returncode == 0, checked.stdout.decode()
    return output


def fruit(*words: str | Path) -> str:
    """Run the `fruit` command on this machine, as a maintainer would."""
    command = [sys.executable, "-c", "from fruitd.cli import main; main()", *map(str, words)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, check=False, text=True)
    assert done.returncode == 0, f"fruit {' '.join(map(str, words))}: {done.stderr}"
    return done.stdout


@frozen
class Maintainer:
    """Who founded the swarm and signs its releases; one of each key is enough here."""

    folder: Path

    def found(self) -> None:
        """Make keys, trust root and swarm key."""
        for name in ("root", "release"):
            fruit("key", "new", name, "--no-passphrase", "--dir", self.folder)
        fruit("trust", "init", "--swarm", SWARM, "--root-key", self.folder / "root.key",
              "--release-key", self.folder / "release.pub", "-o", self.folder / "root.fruit")  # fmt: skip
        fruit("key", "swarm", self.folder / "swarm.key")

    def sign(
        self, image: Path, release: int, hardware: str, sequence: int, previous: Path | None, output: Path
    ) -> None:
        """Make and sign a release of this image; the manifest before it is carried on."""
        fruit("release", "build", image, "--release", str(release), "--version", f"v{release}",
              "--resource", RESOURCE, "--compatible", hardware, "--trust", self.folder / "root.fruit",
              "--sequence", str(sequence), "-o", output,
              *(["--previous", previous] if previous is not None else []))  # fmt: skip
        fruit("release", "sign", output, "--key", self.folder / "release.key")


def configuration(name: str, *, slots: bool) -> str:
    """fruitd.toml of a machine."""
    text = f"""[node]
name = "{name}"
site = "vm"
compatible = ["vm,{name}"]
[trust]
root = "/etc/fruitd/root.fruit"
[swarm]
key_file = "/etc/fruitd/swarm.key"
[update]
retry_min_s = 1
retry_max_s = 10
[log]
format = "text"
"""
    if slots:
        text += """[slots]
a = "PARTLABEL=fruit-a"
b = "PARTLABEL=fruit-b"
[boot]
backend = "grub"
env = "/boot/grub/grubenv"
[keeper]
[health]
command = ["/usr/local/bin/node-is-well"]
interval_s = 1
sustain_s = 5
samples = 3
fail_after = 3
deadline_s = 120
"""
    return text


def settings(name: str, number: int) -> str:
    """fruit.cfg of a machine."""
    network = f"ip=10.77.0.{number}::10.77.0.1:255.255.255.0::eth0:off net.ifnames=0 fruit.watchdog=ib700wdt"
    quiet = "quiet loglevel=4 systemd.show_status=0 mitigations=off ipv6.disable=1"
    return (
        "serial --unit=0 --speed=115200\nterminal_output serial\nset fruit_watchdog=ib700\n"
        f'set fruit_arguments="console=ttyS0,115200 {quiet} systemd.hostname={name} {network}"\n'
    )


def make_machine(
    folder: Path, name: str, number: int, image: Path, network: Network, maintainer: Maintainer, *, slots: bool = True,
    more: Sequence[str] = (), accelerator: str = "tcg",
) -> Machine:  # fmt: skip
    """Flash a disk; a new machine, off."""
    home = folder / name
    data = home / "data"
    (data / "etc/fruitd").mkdir(parents=True)
    (data / "etc/fruitd/fruitd.toml").write_text(configuration(name, slots=slots))
    for file in ("root.fruit", "swarm.key"):
        target = data / "etc/fruitd" / file
        target.write_bytes((maintainer.folder / file).read_bytes())
        target.chmod(0o600)
        os.chown(target, USER_ID, USER_ID)
    plan = DiskPlan(
        image, SLOT_BYTES, DATA_BYTES, PROJECT / "packaging/grub/grub.cfg", settings(name, number), data
    )
    make_disk(plan, home / "disk.img")
    return Machine(name, home, home / "disk.img", network, number, tuple(more), accelerator)


def release_drive(release: int, image: Path) -> list[str]:
    """A disk that holds the image of a release and cannot be written, and how QEMU is told of it."""
    drive = f"if=none,id=release-{release},file={image},format=raw,readonly=on"
    return ["-drive", drive, "-device", f"virtio-blk-pci,drive=release-{release},serial=release-{release}"]


def spares(*, long: bool) -> range:
    """Releases for the machine whose power is cut: one that was given up, or kept, is followed by the next."""
    return range(7, 13) if long else range(7, 8)


@define
class Workshop:
    """Everything in one folder: maintainer, root image, releases, and machines: `publisher`, and those that releases are for."""

    folder: Path
    image: Path
    maintainer: Maintainer
    network: Network
    releases: dict[int, str] = field(factory=dict)
    """Release -> the hardware it is for."""
    machines: dict[str, Machine] = field(factory=dict)
    published: list[int] = field(factory=list)
    _publishing: threading.Lock = field(factory=threading.Lock)

    @classmethod
    def open(cls, folder: Path) -> Workshop:
        """Make the root image, unless it is there, and found the swarm."""
        image = root_image()
        maintainer = Maintainer(folder / "maintainer")
        maintainer.folder.mkdir()
        maintainer.found()
        (folder / "releases").mkdir()
        network = Network(20_000 + random.SystemRandom().randrange(10_000))
        return cls(folder, image, maintainer, network)

    def add_release(self, release: int, machine: str, files: dict[str, str] | None = None) -> None:
        """Make the image of a release for one of the machines, on a disk of the publisher; `files` say how it goes wrong."""
        changed(self.image, self._image(release), release, files or {})
        self.releases[release] = f"vm,{machine}"

    def start(self) -> None:
        """Flash the disks and switch on; waits until each fruitd answers."""
        drives = [word for release in self.releases for word in release_drive(release, self._image(release))]
        accelerator = "kvm" if kvm_runs(kernel_of(self.image, self.folder)) else "tcg"
        peers = dict.fromkeys(hardware.removeprefix("vm,") for hardware in self.releases.values())
        for number, name in enumerate(("publisher", *peers), 10):
            slots = name != "publisher"
            self.machines[name] = make_machine(
                self.folder, name, number, self.image, self.network, self.maintainer,
                slots=slots, more=() if slots else drives, accelerator=accelerator,
            )  # fmt: skip
            self.machines[name].start()
        for machine in self.machines.values():
            machine.wait("fruitd answers", lambda status: True, timeout_s=PATIENCE_S)
        publisher = self.machines["publisher"]
        publisher.run("chmod a+r /dev/disk/by-id/virtio-release-*")
        # What it publishes lies on disks of their own, which a unit may not open by itself.
        publisher.run("systemctl set-property --runtime fruitd.service 'DeviceAllow=block-virtblk r'")

    def _image(self, release: int) -> Path:
        return self.folder / "releases" / f"{release}.img"

    def publish(self, release: int) -> None:
        """Sign a release, with what was published before carried on, and hand it to the publisher in its own machine."""
        with self._publishing:
            folder = self.folder / "signed" / str(release)
            folder.parent.mkdir(exist_ok=True)
            self.maintainer.sign(
                self._image(release),
                release,
                self.releases[release],
                len(self.published) + 1,
                self._last(),
                folder,
            )
            asked = {
                "manifest": base64.b64encode((folder / "manifest").read_bytes()).decode(),
                "torrent": base64.b64encode((folder / "image.torrent").read_bytes()).decode(),
                "image": f"/dev/disk/by-id/virtio-release-{release}",
            }
            code, said = self.machines["publisher"].ask(
                api="/v1/publish", body=json.dumps(asked), timeout_s=PATIENCE_S
            )
            assert code == 0, f"release {release} is not published: {said}"
            self.published.append(release)
        print(f"release {release} is out", flush=True)

    def _last(self) -> Path | None:
        return self.folder / "signed" / str(self.published[-1]) / "manifest" if self.published else None

    def close(self) -> None:
        """Switch everything off."""
        for machine in self.machines.values():
            machine.cut_power()


def kernel_of(image: Path, folder: Path) -> Path:
    """The kernel in a root image, as a file of its own."""
    kernel = folder / "vmlinuz"
    listed = subprocess.run(
        ["debugfs", "-R", "ls -p /boot", image], capture_output=True, check=True
    ).stdout.decode()
    name = next(line.split("/")[5] for line in listed.splitlines() if "/vmlinuz-" in line)
    subprocess.run(["debugfs", "-R", f"dump /boot/{name} {kernel}", image], capture_output=True, check=True)
    return kernel
