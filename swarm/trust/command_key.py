"""A key that is kept elsewhere, and the command that signs with it. Pure: running it is `command_signer`.

The key file of type ``fruit-command-key``: beside what all key files have, ``command``, a list of words. The command is
given exactly the bytes to sign on its standard input and answers with the signature: 64 bytes, or 128 hex digits.
"""

from __future__ import annotations

import binascii

from attrs import frozen

from swarm.errors import KeyFileError
from swarm.trust import key_document
from swarm.trust.keys import SIGNATURE_BYTES, PublicKey

COMMAND_TYPE = "fruit-command-key"
WORDS_MAX = 32
WORD_CHARS_MAX = 512


@frozen
class CommandKey:
    """The public half of a key, and whom to ask for its signatures."""

    public: PublicKey
    command: tuple[str, ...]
    """Program and arguments; no shell reads them."""

    def encode(self) -> bytes:
        """The key file. Nothing in it is secret, but whoever changes it chooses what is run."""
        return key_document.encode({**self.public.described(COMMAND_TYPE), "command": list(self.command)})

    @classmethod
    def decode(cls, data: bytes) -> CommandKey:
        """Read such a file; raises `KeyFileError`."""
        document = key_document.decode(data, COMMAND_TYPE, {"command"})
        return cls(PublicKey.of_document(document), check_command(document["command"]))

    def check_signature(self, message: bytes, answer: bytes) -> bytes:
        """The signature in what the command answered; raises `KeyFileError` unless this key made it."""
        signature = _signature(answer)
        if not self.public.verifies(message, signature):
            raise KeyFileError(
                f"{self.command[0]} answered with a signature that key {self.public.name} ({self.public.key_id}) did not "
                "make: does it hold another key, or sign something else than the bytes it is given?"
            )
        return signature


def check_command(words: object) -> tuple[str, ...]:
    """A command's words; raises `KeyFileError`."""
    if not isinstance(words, list) or not 1 <= len(words) <= WORDS_MAX:
        raise KeyFileError(f"its command is not a list of 1 to {WORDS_MAX} words")
    for word in words:
        if not isinstance(word, str) or len(word) > WORD_CHARS_MAX or not word.isprintable():
            raise KeyFileError(
                f"its command has a word that is not printable text of at most {WORD_CHARS_MAX} characters"
            )
    program = words[0]
    # A relative path would run whatever lies in the folder in which the maintainer happens to stand.
    if not program or ("/" in program and not program.startswith("/")):
        raise KeyFileError("its command is neither a name to be found on PATH nor an absolute path")
    return tuple(words)


def _signature(answer: bytes) -> bytes:
    if len(answer) == SIGNATURE_BYTES:
        return answer
    try:
        decoded = binascii.unhexlify(answer.strip())
    except binascii.Error:
        decoded = b""
    if len(decoded) != SIGNATURE_BYTES:
        raise KeyFileError(
            f"its command answered {len(answer)} bytes; a signature is {SIGNATURE_BYTES} bytes or "
            f"{2 * SIGNATURE_BYTES} hex digits"
        )
    return decoded
