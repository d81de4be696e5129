"""Signing with an ssh-agent: if these failed, keys would have to lie on disks after all, or an agent could fool us."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fruitd.maintainer import ssh_agent
from fruitd.maintainer.ssh_agent import agent_keys, agent_sign
from swarm.errors import KeyFileError
from swarm.trust.keys import verifies

needs_openssh = pytest.mark.skipif(
    not all(shutil.which(p) for p in ("ssh-agent", "ssh-add", "ssh-keygen")),
    reason="needs Debian's openssh-client",
)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real ssh-agent with an Ed25519 key `fruit-ann` and an RSA key."""
    where = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", where], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # It tells its socket once it listens.
        monkeypatch.setenv("SSH_AUTH_SOCK", str(where))
        for kind in ("ed25519", "rsa"):
            key = tmp_path / kind
            subprocess.run(
                ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "fruit-ann", "-f", key], check=True
            )
            subprocess.run(["ssh-add", "-q", key], check=True)
        try:
            yield where
        finally:
            process.terminate()


@needs_openssh
def test_a_real_agent_lists_its_key_and_signs_plain_ed25519(agent):
    """If this failed, nobody could keep a release key in an agent."""
    (key,) = agent_keys()
    assert key.comment == "fruit-ann"
    for message in (b"", b"fruit-record-1\0 and more", bytes(200_000)):
        assert verifies(key.public, message, agent_sign(key.public, message))


@needs_openssh
def test_a_real_agent_refuses_a_key_it_does_not_hold_and_what_is_too_large(agent):
    """If this failed, a wrong key would be found out only by the nodes."""
    with pytest.raises(KeyFileError, match="does not hold this key"):
        agent_sign(bytes(32), b"message")
    with pytest.raises(KeyFileError, match="signs at most"):
        agent_sign(bytes(32), bytes(300_000))


def test_no_agent_is_said_so(monkeypatch, tmp_path):
    """If this failed, forgetting to start the agent would get a puzzling answer."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(KeyFileError, match="SSH_AUTH_SOCK is not set"):
        agent_keys()
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    with pytest.raises(KeyFileError, match="cannot be asked: No such file"):
        agent_keys()


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def identities(*blobs: bytes) -> bytes:
    return string(
        bytes([12]) + struct.pack(">I", len(blobs)) + b"".join(string(b) + string(b"c") for b in blobs)
    )


def signature(algorithm: bytes, raw: bytes) -> bytes:
    return string(bytes([14]) + string(string(algorithm) + string(raw)))


@contextmanager
def answering(answer: bytes, path: Path) -> Iterator[None]:
    """Something that listens as an agent does and gives this answer, whatever it is asked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with listener.accept()[0] as peer:
                peer.recv(65536)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(10)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "closed the connection"),
        (b"\0\0", "closed the connection"),
        (string(b"\x05"), "refused"),
        (string(b"\x06"), "does not speak as an ssh-agent does"),
        (struct.pack(">I", 2**32 - 1), "does not speak as an ssh-agent does"),
        (struct.pack(">I", 0), "does not speak as an ssh-agent does"),
        (string(bytes([14])), "cut off"),
        (string(bytes([14]) + struct.pack(">I", 2**32 - 1)), "cut off"),
        (signature(b"ssh-rsa", bytes(64)), "another algorithm"),
        (signature(b"ssh-ed25519", bytes(63)), "63 bytes"),
    ],
)
def test_an_agent_that_answers_anything_else_is_refused(answer, said, tmp_path, monkeypatch):
    """If this failed, whatever listens there could crash a ceremony or eat its memory."""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "s"))
    with answering(answer, tmp_path / "s"), pytest.raises(KeyFileError, match=said):
        agent_sign(bytes(32), b"message")


def test_keys_of_other_kinds_are_passed_over(tmp_path, monkeypatch):
    """If this failed, one RSA key in an agent would hide all others."""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "s"))
    ed25519 = string(b"ssh-ed25519") + string(bytes(range(32)))
    answer = identities(string(b"ssh-rsa") + string(b"e"), ed25519, string(b"ssh-ed25519") + string(b"short"))
    with answering(answer, tmp_path / "s"):
        assert [key.public for key in agent_keys()] == [bytes(range(32))]


@pytest.mark.parametrize(
    "answer", [identities(b"")[:-1] + b"", string(bytes([12]) + struct.pack(">I", 2**32 - 1))]
)
def test_a_list_that_ends_too_early_is_refused(answer, tmp_path, monkeypatch):
    """If this failed, a damaged answer would end in a traceback."""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "s"))
    with answering(answer, tmp_path / "s"), pytest.raises(KeyFileError):
        agent_keys()


def test_an_agent_that_never_answers_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    """If this failed, a script would hang with a locked agent."""
    monkeypatch.setattr(ssh_agent, "TIMEOUT_S", 0.05)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "s"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with pytest.raises(KeyFileError, match="does not answer"):
            agent_keys()
