"""The errors of the bep35 package.

Bep35Error
 ├── BencodeError    the bytes are not (canonical) bencoding
 ├── MetainfoError   bencoding, but not a torrent this library can use
 └── SignatureError  no such signer, another key, or a signature that does not verify
"""

from __future__ import annotations


class Bep35Error(Exception):
    """Root of every error raised by bep35."""


class BencodeError(Bep35Error):
    """The bytes are not canonical bencoding, or exceed a bound."""


class MetainfoError(Bep35Error):
    """The torrent is malformed, inconsistent or of a shape this library does not handle."""


class SignatureError(Bep35Error):
    """A signature is missing, made by another key, or does not verify."""
