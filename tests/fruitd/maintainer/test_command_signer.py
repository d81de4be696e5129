"""Signing by a command: if these failed, a hanging, babbling or lying program would hang, flood or fool a maintainer.

These run real programs and look at the real clock: that a program is waited for, and not for ever, shows in no model.
"""

from __future__ import annotations

import sys
import time

import pytest

from fruitd.errors import RefusedError
from fruitd.maintainer.command_signer import CommandSigner
from fruitd.maintainer.signers import open_signer
from swarm.errors import KeyFileError
from swarm.trust.command_key import CommandKey
from swarm.trust.keys import SecretKey

ANN = SecretKey(bytes(range(32)), "ann")
SIGN = (
    "import sys; from nacl.signing import SigningKey; "
    "sys.stdout.buffer.write(SigningKey(bytes(range(32))).sign(sys.stdin.buffer.read()).signature)"
)


def signer(program: str, timeout_s: float = 60.0) -> CommandSigner:
    """A key whose signatures a Python program makes."""
    return CommandSigner(CommandKey(ANN.public, (sys.executable, "-c", program)), timeout_s)


@pytest.mark.parametrize("length", [0, 1, 100, 300_000])
def test_the_command_gets_exactly_the_bytes_and_its_signature_is_used(length):
    """If this failed, a token would sign something else than what was shown, or stop at a pipe's size."""
    message = bytes(range(256)) * (length // 256) + bytes(length % 256)
    assert signer(SIGN).sign(message) == ANN.sign(message)
    assert signer(SIGN).public == ANN.public


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (
            "import sys; sys.exit('no token in\\x1b[2J the reader')",
            r"ended with code 1: no token in\?\[2J the reader",
        ),
        ("import sys; sys.exit(3)", "ended with code 3: it did not say why"),
        ("print('ff' * 64)", "did not make"),
        ("pass", "answered 0 bytes"),
        ("import sys; sys.stdout.buffer.write(bytes(5000))", "more than 4096 bytes"),
        ("import os\nwhile True: os.write(1, bytes(65536))", "more than 4096 bytes"),
        (
            "import os\nfor _ in range(99): os.write(2, bytes(65536))\nraise SystemExit(1)",
            "ended with code 1",
        ),
        ("import os; os.kill(os.getpid(), 9)", "ended with code -9"),
    ],
)
def test_whatever_else_it_does_is_refused_in_words(program, said):
    """If this failed, a maintainer would see a traceback, or a release would carry a false signature."""
    with pytest.raises(KeyFileError, match=said):
        signer(program).sign(bytes(200_000))


@pytest.mark.parametrize(
    "program", ["import time; time.sleep(600)", "import os, time; os.close(1); os.close(2); time.sleep(600)"]
)
def test_one_that_does_not_answer_or_end_is_ended(program):
    """If this failed, a script that signs freshness would hang until somebody looks."""
    began_s = time.monotonic()
    with pytest.raises(KeyFileError, match=r"no answer within|does not end"):
        signer(program, timeout_s=0.5).sign(b"message")
    assert time.monotonic() - began_s < 30


def test_one_that_is_not_installed_is_named(tmp_path):
    """If this failed, a key file carried to a new machine would fail without a reason."""
    key = CommandKey(ANN.public, ("no-such-program-of-fruit",))
    with pytest.raises(KeyFileError, match=r"no-such-program-of-fruit.* is it installed here"):
        CommandSigner(key).sign(b"m")
    (tmp_path / "ann.key").write_bytes(key.encode())
    opened = open_signer(tmp_path / "ann.key", lambda *_: pytest.fail("no passphrase belongs to it"))
    assert opened.public == ANN.public


def test_a_public_key_signs_nothing(tmp_path):
    """If this failed, the usual mistake of a first signing would get a puzzling answer."""
    (tmp_path / "ann.pub").write_bytes(ANN.public.encode())
    with pytest.raises(RefusedError, match=r"ann\.pub is a public key; the secret half is needed"):
        open_signer(tmp_path / "ann.pub", lambda *_: "")
