"""A shell: asks the command of a key that is kept elsewhere for a signature. What counts as one is `CommandKey`.

The command is run without a shell, gets exactly the bytes to sign on its standard input, and has a bounded time and a
bounded answer. It may ask for a PIN on the terminal. Its answer is verified before anybody uses it.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from contextlib import suppress
from typing import IO

from attrs import frozen

from swarm.errors import KeyFileError
from swarm.trust.command_key import CommandKey
from swarm.trust.keys import PublicKey

TIMEOUT_S = 120.0
"""Somebody has to find the token, type a PIN and touch it. Longer, and a script that nobody watches hangs."""
ANSWER_BYTES_MAX = 4096
"""A signature in hex is 128 bytes; more than this is not one, and is not collected."""
_CHUNK_BYTES = 65_536


@frozen
class CommandSigner:
    """Signs with a key that this machine, or this program, does not have."""

    key: CommandKey
    timeout_s: float = TIMEOUT_S

    @property
    def public(self) -> PublicKey:
        """The public half, as the key file names it."""
        return self.key.public

    def sign(self, message: bytes) -> bytes:
        """The command's signature, verified; raises `KeyFileError` with the command's last words where there is none."""
        program = self.key.command[0]
        try:
            with subprocess.Popen(
                self.key.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as process:
                try:
                    answer, words = _converse(process, message, self.timeout_s)
                    code = process.wait(self.timeout_s)
                except (_NoAnswerError, subprocess.TimeoutExpired) as error:
                    why = error if isinstance(error, _NoAnswerError) else "it does not end"
                    raise KeyFileError(f"{program}, which signs for key {self.public.name}: {why}") from error
                finally:
                    process.kill()
        except OSError as error:
            raise KeyFileError(
                f"{program}, which signs for key {self.public.name}, cannot be run: {error.strerror}; is it installed here?"
            ) from error
        if code != 0:
            raise KeyFileError(
                f"{program}, which signs for key {self.public.name}, ended with code {code}: {_last_words(words)}"
            )
        return self.key.check_signature(message, answer)


class _NoAnswerError(Exception):
    pass


def _converse(process: subprocess.Popen[bytes], message: bytes, timeout_s: float) -> tuple[bytes, bytes]:
    """What the process says on its output and its error output, both bounded, while it is given the message."""
    given, out, err = process.stdin, process.stdout, process.stderr
    assert given is not None
    assert out is not None
    assert err is not None
    collected: dict[IO[bytes], bytearray] = {out: bytearray(), err: bytearray()}
    rest = memoryview(message)
    end_s = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        os.set_blocking(given.fileno(), False)
        selector.register(given, selectors.EVENT_WRITE)
        selector.register(out, selectors.EVENT_READ)
        selector.register(err, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(end_s - time.monotonic(), 0))
            if not ready:
                raise _NoAnswerError(f"no answer within {timeout_s:g} s")
            for key, _ in ready:
                stream = key.fileobj
                if stream is given:
                    rest = _give(given, rest)
                    if not rest:
                        selector.unregister(given)
                        _close(given)
                    continue
                assert stream is out or stream is err
                data = os.read(key.fd, _CHUNK_BYTES)
                if not data:
                    selector.unregister(stream)
                collected[stream] += data
                if stream is out and len(collected[out]) > ANSWER_BYTES_MAX:
                    raise _NoAnswerError(
                        f"it answers more than {ANSWER_BYTES_MAX} bytes, which is no signature"
                    )
                del collected[err][:-ANSWER_BYTES_MAX]
    return bytes(collected[out]), bytes(collected[err])


def _give(stream: IO[bytes], rest: memoryview) -> memoryview:
    """What is left to give; nothing once the command no longer listens."""
    try:
        return rest[os.write(stream.fileno(), rest[:_CHUNK_BYTES]) :]
    except BrokenPipeError:
        return rest[:0]


def _close(stream: IO[bytes]) -> None:
    with suppress(BrokenPipeError):
        stream.close()


def _last_words(err: bytes) -> str:
    lines = [line for line in err.decode(errors="replace").splitlines() if line.strip()]
    return "".join(c if c.isprintable() else "?" for c in lines[-1])[:300] if lines else "it did not say why"
