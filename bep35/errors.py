"""The errors of the bep35 package.

Bep35Error
 ├── BencodeError    the bytes are not (canonical) bencoding
 ├── MetainfoError   bencoding, but not a torrent this library can use
 ├── ImageError      an image or its leaf hashes are shorter or longer than they should be
 ├── SignatureError  no such signer, another key, or a signature that does not verify
 │    └── UnknownSignerError  nothing that was given says whether this signer is to be trusted
 ├── CertificateError  no certificate, or one that this library does not handle
 ├── KeyFileError    a key file on this machine is unusable: its owner has to mend it
 └── ExtraMissingError  certificates need a package that is not installed
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


class UnknownSignerError(SignatureError):
    """A signature cannot be judged: no key or certificate that was given has to do with its signer."""


class CertificateError(Bep35Error):
    """The bytes are no X.509 certificate, or one beyond a bound or of a kind that is not handled."""


class ExtraMissingError(Bep35Error, ImportError):
    """Certificates and RSA need the extra `x509`; the message says how to install it."""


class KeyFileError(Bep35Error):
    """A key file cannot be used; the message says which and what to do."""
