"""Signing with an Ed25519 key that an ssh-agent holds. What speaks with the agent is a shell; the messages are read strictly.

An agent signs whatever bytes it is given, and with an Ed25519 key the signature is plain Ed25519: exactly what a trust
root's keys make. Nothing that fruit signs can be taken for an SSH login: that begins with the length of a session id, and
our first four bytes would be a length of more than a gigabyte.

Source: draft-ietf-sshm-ssh-agent; RFC 8709, section 6.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

from attrs import frozen

from swarm.errors import KeyFileError
from swarm.trust.keys import KEY_BYTES, SIGNATURE_BYTES

SOCKET_VARIABLE = "SSH_AUTH_SOCK"
MESSAGE_BYTES_MAX = 256 * 1024
"""OpenSSH's own bound, in both directions."""
TIMEOUT_S = 100.0
"""An agent may ask its owner first; less than a key's command has in all."""
_FAILURE, _REQUEST_IDENTITIES, _IDENTITIES, _SIGN_REQUEST, _SIGNATURE = 5, 11, 12, 13, 14
_ALGORITHM = b"ssh-ed25519"


@frozen
class AgentKey:
    """An Ed25519 key that an agent holds."""

    public: bytes
    comment: str


def agent_keys() -> list[AgentKey]:
    """The Ed25519 keys of the agent that `SSH_AUTH_SOCK` names; raises `KeyFileError`."""
    reader = _ask(bytes([_REQUEST_IDENTITIES]), _IDENTITIES)
    keys = []
    for _ in range(reader.number()):
        blob, comment = _Reader(reader.string()), reader.string()
        if blob.string() == _ALGORITHM:
            public = blob.string()
            if len(public) == KEY_BYTES:
                keys.append(AgentKey(public, comment.decode(errors="replace")))
    return keys


def agent_sign(public: bytes, message: bytes) -> bytes:
    """The 64 bytes that the agent signs `message` with, unverified; raises `KeyFileError`."""
    blob = _string(_ALGORITHM) + _string(public)
    request = bytes([_SIGN_REQUEST]) + _string(blob) + _string(message) + struct.pack(">I", 0)
    signature = _Reader(_ask(request, _SIGNATURE).string())
    if signature.string() != _ALGORITHM:
        raise KeyFileError("ssh-agent signed with another algorithm than Ed25519")
    raw = signature.string()
    if len(raw) != SIGNATURE_BYTES:
        raise KeyFileError(f"ssh-agent answered with a signature of {len(raw)} bytes, not {SIGNATURE_BYTES}")
    return raw


class _Reader:
    """Reads one message of the agent from front to back."""

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def take(self, length: int) -> bytes:
        if length > len(self._rest):
            raise KeyFileError("ssh-agent's answer is cut off")
        taken, self._rest = self._rest[:length], self._rest[length:]
        return taken

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        return self.take(self.number())


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _ask(request: bytes, expected: int) -> _Reader:
    """What the agent answers to one request, past the answer's type."""
    if len(request) > MESSAGE_BYTES_MAX - 4:
        raise KeyFileError(f"ssh-agent signs at most {MESSAGE_BYTES_MAX} bytes, these are {len(request)}")
    where = os.environ.get(SOCKET_VARIABLE, "")
    if not where:
        raise KeyFileError(
            f"no ssh-agent: {SOCKET_VARIABLE} is not set; start one with eval $(ssh-agent), then ssh-add"
        )
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(TIMEOUT_S)
            agent.connect(str(Path(where)))
            agent.sendall(_string(request))
            length = int.from_bytes(_receive(agent, 4), "big")
            if not 1 <= length <= MESSAGE_BYTES_MAX:
                raise KeyFileError(f"what listens on {where} does not speak as an ssh-agent does")
            answer = _Reader(_receive(agent, length))
    except TimeoutError as error:
        raise KeyFileError(f"ssh-agent at {where} does not answer") from error
    except OSError as error:
        raise KeyFileError(f"ssh-agent at {where} cannot be asked: {error.strerror or error}") from error
    kind = answer.take(1)[0]
    if kind == _FAILURE:
        raise KeyFileError(
            "ssh-agent refused: it does not hold this key (ssh-add -l shows which), or was told not to sign"
        )
    if kind != expected:
        raise KeyFileError(f"what listens on {where} does not speak as an ssh-agent does")
    return answer


def _receive(agent: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = agent.recv(length - len(data))
        if not part:
            raise KeyFileError("ssh-agent closed the connection before it had answered")
        data += part
    return bytes(data)
