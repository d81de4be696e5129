"""Packs as GNU gzip does, bit for bit, by having it do so.

zlib makes the same of what is short. What is long it divides into other blocks of deflate, with every one of its settings
(docs/adr/0028-inside-gzip.md).
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from hashlib import sha256

_HEADER_BYTES = 10
"""RFC 1952, of what has no name: everything before the deflate stream."""
_PATIENCE_MS = 60_000
"""Without a byte in or out. It is a program beside a daemon that has other work; even on a slow card it begins within seconds."""


_TRIED_LINES, _TRIED_BYTES = 9_000, 41_140
_TRIED_SHA256 = "ea07246d21e44c855a015f31a903ec6a72df8c6ebc16c197580351ebc132c02a"
"""Of what GNU gzip 1.12 makes of a text that zlib packs otherwise."""


class Packing:
    """See `swarm.parcel.unpack.Packing`. Blocks; for worker threads. In the end, no program runs any more."""

    def __init__(self, level: int, text: Iterator[memoryview]) -> None:
        self._text = text
        self._piece = memoryview(b"")
        self._fed = False
        self._program = _started(level)
        self._polled = select.poll()
        if self._program is not None and self._program.stdin is not None and self._program.stdout is not None:
            self._in, self._out = self._program.stdin, self._program.stdout
            os.set_blocking(self._in.fileno(), False)
            self._polled.register(self._in, select.POLLOUT)
            self._polled.register(self._out, select.POLLIN)
            self.take(memoryview(bytearray(_HEADER_BYTES)))

    def take(self, into: memoryview) -> bool:
        """Fill this with what comes next; False where it cannot be had."""
        while into:
            count = self._read(into)
            if not count:
                return False
            into = into[count:]
        return True

    def end(self) -> bool:
        """Be done with it. Was that all of it?"""
        program, whole = self._program, False
        if program is None:
            return False
        try:
            whole = self._read(memoryview(bytearray(1))) == 0 and self._fed
        finally:
            self._program = None
            if not whole:
                program.kill()
            for file in (self._in, self._out):
                with suppress(OSError):
                    file.close()
            code = program.wait()
        return whole and code == 0

    def _read(self, into: memoryview) -> int | None:
        """Wait until there is something, and feed it meanwhile: how many bytes came, 0 at the end, None where it broke."""
        while self._program is not None:
            ready = dict(self._polled.poll(_PATIENCE_MS))
            try:
                if self._out.fileno() in ready:
                    return os.readv(self._out.fileno(), [into])
                if not ready:
                    return None
                self._feed()
            except OSError:
                return None
        return None

    def _feed(self) -> None:
        if not self._piece:
            self._piece = next(self._text, memoryview(b""))
        if self._piece:
            self._piece = self._piece[os.write(self._in.fileno(), self._piece) :]
        else:
            self._polled.unregister(self._in)
            self._in.close()
            self._fed = True


def fault() -> str:
    """What is wrong with this machine's gzip; nothing: it packs as GNU gzip does. Blocks for some ten milliseconds."""
    path = program()
    if path is None:
        return "there is no gzip"
    text = b"".join(
        b"the %x of %x is %d\n" % (n * n % 97, n * 40_503 % 65_536 >> n // 1_500, n % 10)
        for n in range(_TRIED_LINES)
    )
    packed = memoryview(bytearray(_TRIED_BYTES))
    packing = Packing(9, iter([memoryview(text)]))
    whole = packing.take(packed)
    if packing.end() and whole and sha256(packed).hexdigest() == _TRIED_SHA256:
        return ""
    return f"{path} packs otherwise than GNU gzip"


@cache
def program() -> str | None:
    """Where gzip is; None where this machine has none."""
    return shutil.which("gzip", path="/usr/bin:/bin")


def _started(level: int) -> subprocess.Popen[bytes] | None:
    path = program()
    if path is None:
        return None
    try:
        # A variable GZIP would be read as more options.
        return subprocess.Popen(
            [path, f"-{level}n"], env={"LC_ALL": "C"}, bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return None
