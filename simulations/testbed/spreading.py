"""What the runner needs of a tool that spreads an image, and what all of them share."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from simulations.testbed.layout import Host, Layout
from simulations.testbed.plan import MIB, Plan

_MAGIC_AT, _MAGIC = 1080, b"\x53\xef"
"""s_magic of ext4: a boot chooser starts nothing that does not look like a root file system."""
_CHUNK_BYTES = 1024 * 1024
_SECTOR_BYTES = 512


@frozen
class Stage:
    """Where a tool is to work: the network is built, the image is made, nothing runs yet."""

    plan: Plan
    layout: Layout
    folder: Path
    """Of this run, with a short name; deleted afterwards."""
    image: Path
    say: Callable[[str], None]

    @property
    def publisher(self) -> Host:
        """Who has the image."""
        return self.layout.line("publisher").hosts[0]

    @property
    def helper(self) -> Host | None:
        """The reachable node without the image, where there is one."""
        return self.layout.line("helper").hosts[0] if self.plan.helper is not None else None

    @property
    def takers(self) -> tuple[Host, ...]:
        """Everybody who is to get it: the nodes of the sites."""
        return tuple(
            host
            for line in self.layout.lines[len(self.layout.lines) - len(self.plan.expanded_sites()) :]
            for host in line.hosts
        )


class Spreading(Protocol):
    """A tool on all nodes of a network. Times are of `time.monotonic`."""

    def start(self) -> None:
        """Start everything, and return when it stands ready: all nodes have found each other, where they do that before."""
        ...

    def begin(self) -> None:
        """From here on the clock runs."""
        ...

    def copy(self, host: Host) -> Path:
        """The file that is to hold the image on that node, in its first bytes; it may not be there yet."""
        ...

    def done_s(self, host: Host) -> float | None:
        """When this node had the whole image; None: not yet."""
        ...

    def kill(self, host: Host) -> None:
        """Pull its plug."""
        ...

    def pause(self, host: Host) -> None:
        """Make it stand still."""
        ...

    def resume(self, host: Host) -> None:
        """Let it go on."""
        ...

    def account(self, host: Host) -> dict[str, Any] | None:
        """What the node says of its own traffic, where it can."""
        ...

    def trouble(self) -> list[str]:
        """What went wrong in words, such as a process that ended by itself."""
        ...

    def close(self) -> None:
        """End everything."""
        ...


def held_bytes(path: Path) -> int:
    """How much of a sparse file has been written: costs whoever writes it nothing."""
    try:
        found = path.stat()
    except OSError:
        return 0
    return found.st_blocks * _SECTOR_BYTES


def same_content(path: Path, digest: bytes, size_bytes: int) -> bool:
    """True if the file's first bytes are the image."""
    try:
        return digest_of(path, size_bytes) == digest
    except OSError:
        return False


def digest_of(path: Path, size_bytes: int) -> bytes:
    """SHA-256 of the file's first bytes."""
    digest, left = hashlib.sha256(), size_bytes
    with path.open("rb") as file:
        while left and (chunk := file.read(min(_CHUNK_BYTES, left))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.digest()


def write_image(path: Path, mib: int, seed: int) -> None:
    """Random bytes that a boot chooser would boot."""
    generator = random.Random(seed)
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(generator.randbytes(MIB))
        file.seek(_MAGIC_AT)
        file.write(_MAGIC)


def signal_all(pids: Sequence[int], number: int) -> None:
    """Send a signal to processes, some of which may be gone."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
