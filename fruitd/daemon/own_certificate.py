"""The node's certificate of membership: made at first start from the token on its card, kept in the state directory.

Nothing here keeps a node from starting: one that is no member gets its updates all the same, and says what it lacks.
"""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from swarm.durable import write_durably
from swarm.errors import KeyFileError, RefusedError
from swarm.joining import (
    CERTIFICATE_FILE_BYTES_MAX,
    TOKEN_FILE_BYTES_MAX,
    OwnCertificate,
    TokenFile,
    join,
)
from swarm.trust.key_files import read_bounded, read_private
from swarm.trust.keys import SecretKey
from swarm.trust.root import TrustRoot

CERTIFICATE_FILE = "certificate"


def load_certificate(
    state_dir: Path, token: Path | None, identity: SecretKey, root: TrustRoot, now_s: float
) -> tuple[OwnCertificate | None, str]:
    """The certificate, and what is wrong in words ("" if nothing is).

    Args:
        state_dir: where it is kept.
        token: where the token file lies, or lay: it may go once the certificate is made.
        identity: the node's key.
        root: the trust root of now.
        now_s: the node's time, never below its floor.
    """
    path = state_dir / CERTIFICATE_FILE
    held = _held(path, identity)
    if token is None:
        return held, "" if held else "it has no join token; put one on the card and name it in [node] token"
    try:
        if not token.exists():
            return held, "" if held else f"there is no join token at {token}; ask an operator for one"
    except OSError as error:  # a folder that may not be entered, for example
        return held, f"{token} cannot be read: {error.strerror or error}"
    try:
        made = _made(held, TokenFile.decode(read_private(token, TOKEN_FILE_BYTES_MAX)), identity, root, now_s)
        if made != held:
            write_durably(path, made.encode())
    except (KeyFileError, RefusedError) as error:
        return held, str(error) if str(token) in str(error) else f"{token}: {error}"
    except OSError as error:
        return held, f"its certificate cannot be kept in {state_dir}: {error.strerror or error}"
    return made, ""


def _made(
    held: OwnCertificate | None, file: TokenFile, identity: SecretKey, root: TrustRoot, now_s: float
) -> OwnCertificate:
    """What to hold, now that this token is on the card."""
    if held is None or held.terms.key != file.terms.key:
        return join(file, identity, root, now_s, after=held.member.sequence if held is not None else 0)
    # The token it joined by; an operator may have signed its terms anew.
    return evolve(held, terms=file.terms)


def _held(path: Path, identity: SecretKey) -> OwnCertificate | None:
    """What was made before; None where there is nothing that this node could show."""
    try:
        held = OwnCertificate.decode(read_bounded(path, CERTIFICATE_FILE_BYTES_MAX))
    except (KeyFileError, RefusedError):
        return None
    return held if held.member.key == identity.node_id else None
