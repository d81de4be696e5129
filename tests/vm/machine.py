"""A virtual machine under QEMU that can be switched on, looked into, and have its plug pulled."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

QEMU = "qemu-system-x86_64"
ASK_TIMEOUT_S = 600.0
POLL_S = 0.5
EMULATED_CPU = "qemu64"
"""Without SSSE3 and AVX, OpenSSL hashes with plain instructions, which are emulated six times as fast (32 against 5 MiB/s)."""
INSTRUCTION = "shift=1,sleep=on"
"""In emulation an instruction takes 2 ns of the machine's time, however long the host needs for it; a machine that waits lives in
real time. So no timer in it, its watchdog least of all, runs out because the host is busy. Longer (shift=2: 4 ns) and a start
takes as long as on a small board; much longer and the watchdog's 30 s are over before the kernel is up."""


class NoAnswerError(Exception):
    """The machine is off, starting, or does not answer."""


@frozen
class Network:
    """A LAN that only these machines are on: QEMU carries its frames in multicast datagrams over loopback."""

    port: int
    group: str = "239.192.86.77"

    def options(self, mac: str) -> list[str]:
        """What QEMU is told."""
        lan = f"socket,id=lan,mcast={self.group}:{self.port},localaddr=127.0.0.1"
        return ["-netdev", lan, "-device", f"virtio-net-pci,netdev=lan,mac={mac},romfile="]


@define
class Machine:
    """One machine. Its disk, its console's log and its sockets are in `folder`."""

    name: str
    folder: Path
    disk: Path
    """What the machine writes to: the flashed disk, or the layer over it that the last `freeze` began."""
    network: Network
    number: int
    """Its address is 10.77.0.`number`."""
    more: tuple[str, ...] = ()
    accelerator: str = "tcg"
    scratch: bool = False
    """What it writes is forgotten when it is switched off: `disk` stays as it is."""
    memory_mib: int = 512
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    _door: socket.socket | None = None
    _waiting: bytes = b""
    _asked: int = 0
    boot_ids: list[str] = field(factory=list)
    """Of every boot whose door was heard."""

    @property
    def console(self) -> Path:
        """What came over the serial line, of all starts."""
        return self.folder / "console.log"

    @property
    def running(self) -> bool:
        """True while QEMU runs."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Switch it on."""
        assert not self.running
        self.starts += 1
        path = self.folder / "door"
        path.unlink(missing_ok=True)
        cpu = (
            ["-cpu", "host"] if self.accelerator == "kvm" else ["-cpu", EMULATED_CPU, "-icount", INSTRUCTION]
        )
        disk = f"if=none,id=disk,file={self.disk},format={self._format},cache=writeback,discard=unmap"
        command = [
            QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc,hpet=off",
            "-accel", self.accelerator, *cpu, "-rtc", "clock=vm", "-smp", "1", "-m", str(self.memory_mib),
            "-drive", f"{disk},snapshot=on" if self.scratch else disk,
            "-device", "virtio-blk-pci,drive=disk,bootindex=0",
            *self.network.options(f"52:54:00:77:00:{self.number:02x}"),
            "-device", "ib700", "-action", "watchdog=reset",
            "-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
            "-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console",
            "-device", "virtio-serial-pci", "-chardev", f"socket,id=door,path={path},server=on,wait=off",
            "-device", "virtserialport,chardev=door,name=door",
            "-qmp", f"unix:{self.folder / 'monitor'},server=on,wait=off", *self.more,
        ]  # fmt: skip
        if self.scratch:  # what it is a copy of goes first, or hours go by until that has had all its updates
            command = ["nice", "-n", "10", *command]
        with open(self.folder / "qemu.log", "ab") as log:
            # A group and no session of its own: the kernel shares a processor among sessions first, and among processes then.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0,
                env={**os.environ, "TMPDIR": str(self.folder)},
            )  # fmt: skip
        deadline_s = time.monotonic() + 20
        while not self._open_door(path):
            if not self.running or time.monotonic() > deadline_s:
                raise NoAnswerError(
                    f"{self.name}: QEMU does not start: {(self.folder / 'qemu.log').read_text()[-400:]}"
                )
            time.sleep(0.05)

    def step_back(self) -> None:
        """Let others have the processor first, until it is switched off."""
        assert self.process is not None
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), 19)

    def _open_door(self, path: Path) -> bool:
        door = socket.socket(socket.AF_UNIX)
        try:
            door.connect(str(path))
        except OSError:
            door.close()
            return False
        self._door, self._waiting = door, b""
        return True

    def cut_power(self) -> None:
        """kill -9 of QEMU: nothing in the guest runs on, what its disk was not given is gone.

        On a flashed disk, what the disk was given stays, flushed or not: it is in the host's page cache. On a layer, what was not
        flushed may be lost: where the layer keeps new blocks is known to QEMU alone until the guest flushes.
        """
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        if self._door is not None:
            self._door.close()
            self._door = None

    @property
    def _format(self) -> str:
        return "qcow2" if self.disk.suffix == ".qcow2" else "raw"

    def freeze(self) -> Path:
        """The disk as it is at this moment: what a power cut would leave, in a file that is never written again.

        The machine runs on, on a layer over it. What the guest has given to its disk is in it, flushed or not.
        """
        frozen = self.disk
        layer = self.folder / f"layer-{time.monotonic_ns()}.qcow2"
        arguments = {"device": "disk", "snapshot-file": str(layer), "format": "qcow2"}
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(ASK_TIMEOUT_S)
            monitor.connect(str(self.folder / "monitor"))
            with monitor.makefile("rw") as lines:
                for command in (
                    {"execute": "qmp_capabilities"},
                    {"execute": "blockdev-snapshot-sync", "arguments": arguments},
                ):
                    lines.write(json.dumps(command) + "\n")
                    lines.flush()
                    answer = json.loads(lines.readline())
                    while "return" not in answer:
                        assert "error" not in answer, f"{self.name}: {answer}"
                        answer = json.loads(lines.readline())
        self.disk = layer
        return frozen

    def ask(self, *, timeout_s: float = ASK_TIMEOUT_S, **request: str) -> tuple[int, str]:
        """Let the machine's door `run` a command, or ask a path of the node's `api`, with a `body` or not: exit code, answer."""
        if self._door is None:
            raise NoAnswerError(f"{self.name} is off")
        self._asked += 1
        try:
            self._door.settimeout(timeout_s)
            self._door.sendall(json.dumps({"id": self._asked, **request}).encode() + b"\n")
            deadline_s = time.monotonic() + timeout_s
            while time.monotonic() < deadline_s:
                answer = self._line(deadline_s)
                if answer.get("id") == self._asked:
                    return int(answer["code"]), str(answer["said"])
        except OSError as error:
            raise NoAnswerError(f"{self.name} does not answer: {error}") from error
        raise NoAnswerError(f"{self.name} does not answer within {timeout_s:g} s")

    def _line(self, deadline_s: float) -> dict[str, Any]:
        """The next line from the door. A line that a reset cut off is no JSON and is passed over."""
        assert self._door is not None
        while b"\n" not in self._waiting:
            self._door.settimeout(max(0.01, deadline_s - time.monotonic()))
            data = self._door.recv(65536)
            if not data:
                raise OSError("the door is shut")
            self._waiting += data
        line, _, self._waiting = self._waiting.partition(b"\n")
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            return {}
        boot_id = answer.get("boot_id")
        if boot_id is not None and boot_id not in self.boot_ids:
            self.boot_ids.append(boot_id)
        return answer

    def run(self, command: str, *, timeout_s: float = ASK_TIMEOUT_S) -> str:
        """What a command said; AssertionError where it failed."""
        code, said = self.ask(run=command, timeout_s=timeout_s)
        assert code == 0, f"{self.name}: {command}: exit code {code}: {said[-2000:]}"
        return said

    def get(self, path: str, *, timeout_s: float = 20.0) -> dict[str, Any] | None:
        """What the node's API answers; None while it does not."""
        try:
            code, said = self.ask(api=path, timeout_s=timeout_s)
            return dict(json.loads(said)) if code == 0 else None
        except (NoAnswerError, ValueError):
            return None

    def wait_for_door(self, *, timeout_s: float) -> None:
        """Wait until the machine's init runs and its door answers."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            assert self.running, f"{self.name}: QEMU ended before it came up"
            try:
                self.ask(run="true", timeout_s=15.0)
            except NoAnswerError:
                continue
            return
        raise AssertionError(f"{self.name} does not come up\n{self._last_words()}")

    def _last_words(self) -> str:
        return self.console.read_text(errors="replace")[-1500:] if self.console.exists() else ""

    def wait(
        self, what: str, reached: Callable[[dict[str, Any]], bool], *, timeout_s: float
    ) -> dict[str, Any]:
        """Wait until `reached(status)` holds, looking into the machine; AssertionError says how it was instead."""
        deadline_s = time.monotonic() + timeout_s
        status: dict[str, Any] | None = None
        while time.monotonic() < deadline_s:
            found = self.get("/v1/status")
            if found is not None:
                status = found
                if reached(found):
                    return found
            assert self.running, f"{self.name}: QEMU ended while waiting until {what}"
            time.sleep(POLL_S)
        was = json.dumps(status.get("update")) if status else "no answer from fruitd"
        raise AssertionError(f"{self.name}: not within {timeout_s:g} s: {what}; {was}\n{self._last_words()}")

    def release(self) -> str:
        """Which release the root that is mounted now holds: from its own file, not from what fruitd says."""
        return self.run("cat /etc/fruit-release").strip()

    def slot(self) -> str:
        """Which slot is mounted as root: by the label of the partition under it."""
        device = self.run("findmnt -no SOURCE /").strip()
        return self.run(f"lsblk -no PARTLABEL {device}").strip().removeprefix("fruit-")


def kvm_runs(kernel: Path, timeout_s: float = 6.0) -> bool:
    """Whether a guest truly runs under KVM here: /dev/kvm may open, and the guest then hang."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    command = [
        QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-accel", "kvm", "-cpu", "host",
        "-m", "256", "-no-reboot", "-serial", "stdio", "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        return b"Linux version" in (error.stdout or b"")
    return b"Linux version" in done.stdout
