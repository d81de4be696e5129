"""The errors of the bep35 package.

Bep35Error
 ├── BencodeError    the bytes are not (canonical) bencoding
 ├── MetainfoError   bencoding, but not a torrent this library can use
 ├── ImageError      an image or its leaf hashes are shorter or longer than they should be
 ├── SignatureError  no such signer, another key, or a signature that does not verify
 └── KeyFileError    a key file on this machine is unusable: its owner has to mend it
"""

from __future__ import annotations


class Bep35Error(Exception):
    """Root of every error raised by bep35. The message is one line for a person."""


class BencodeError(Bep35Error):
    """The bytes are not canonical bencoding, or exceed a bound."""


class MetainfoError(Bep35Error):
    """The torrent is malformed, inconsistent or of a shape this library does not handle."""


class ImageError(Bep35Error):
    """An image, or the leaf hashes of one, does not have the length it should have."""


class SignatureError(Bep35Error):
    """A signature is missing, made by another key, or does not verify."""


class KeyFileError(Bep35Error):
    """A key file cannot be used; the message says which and what to do."""
