"""RAUC, as somebody would set it up for the same job: a bundle with one raw image, installed from a local file into one slot."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.nodes import wait_for
from benchmarks.rows import NotMeasurableError

_BUS = """<busconfig><type>system</type><listen>unix:path={folder}/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow own="*"/><allow receive_sender="*"/><allow user="*"/></policy>
</busconfig>"""
_SYSTEM = """[system]
compatible=bench
bootloader=noop
mountprefix={folder}/mnt
statusfile={folder}/status
bundle-formats=plain verity
[keyring]
path={folder}/cert.pem
[slot.rootfs.0]
device={active}
type=raw
bootname=A
[slot.rootfs.1]
device={inactive}
type=raw
bootname=B
"""
_MANIFEST = (
    "[update]\ncompatible=bench\nversion=1\n\n[bundle]\nformat=plain\n\n[image.rootfs]\nfilename=image.img\n"
)


def make_bundle(image: Path, folder: Path) -> Path:
    """A signed bundle of the image, in the format that costs RAUC the least to install from a local file."""
    content = folder / "content"
    content.mkdir(parents=True)
    os.link(image, content / "image.img")
    (content / "manifest.raucm").write_text(_MANIFEST)
    _run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=bench",
        "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"),
    )  # fmt: skip
    bundle = folder / "bundle.raucb"
    # Incompressible on purpose: without this, mksquashfs would make RAUC unpack what it could just copy.
    _run(
        "rauc", f"--cert={folder}/cert.pem", f"--key={folder}/key.pem", f"--keyring={folder}/cert.pem",
        "--mksquashfs-args=-noD -noF", "bundle", str(content), str(bundle),
    )  # fmt: skip
    return bundle


@contextmanager
def service(folder: Path, active: Path, inactive: Path) -> Iterator[dict[str, str]]:
    """RAUC's service on a message bus of its own; the environment with which `rauc install` finds it."""
    (folder / "mnt").mkdir()
    (folder / "bus.conf").write_text(_BUS.format(folder=folder))
    (folder / "system.conf").write_text(_SYSTEM.format(folder=folder, active=active, inactive=inactive))
    found = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder}/bus"}
    log = (folder / "log").open("wb")
    bus = subprocess.Popen(
        ["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork", "--nopidfile"], stdout=log, stderr=log
    )
    wait_for("the message bus", (folder / "bus").exists, timeout_s=10)
    rauc = subprocess.Popen(
        ["rauc", f"--conf={folder}/system.conf", "--override-boot-slot=A", "service"],
        env=found,
        stdout=log,
        stderr=log,
    )
    try:
        wait_for("RAUC's service", lambda: _answers(found), timeout_s=20)
        yield found
    finally:
        for process in (rauc, bus):
            process.terminate()
            process.wait()
        log.close()


def install_s(bundle: Path, environment: dict[str, str]) -> float:
    """Seconds of one `rauc install`."""
    began_s = time.monotonic()
    _run("rauc", "install", str(bundle), env=environment)
    return time.monotonic() - began_s


def _answers(environment: dict[str, str]) -> bool:
    return (
        subprocess.run(["rauc", "status"], env=environment, capture_output=True, check=False).returncode == 0
    )


def _run(*command: str, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasurableError(f"{command[0]}: {(done.stderr or done.stdout).strip()[-300:]}")
