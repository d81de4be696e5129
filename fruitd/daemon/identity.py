"""The node's identity: an Ed25519 key made at first start, kept in the state directory and nowhere else."""

from __future__ import annotations

from pathlib import Path

from fruitd.errors import RefusedError
from fruitd.logs import get_logger
from swarm.errors import KeyFileError
from swarm.trust.any_key import decode_key
from swarm.trust.key_document import KEY_FILE_BYTES_MAX
from swarm.trust.key_files import generate, read_bounded, read_secret_key, write_secret_key
from swarm.trust.keys import SecretKey

IDENTITY_FILE = "identity.key"
log = get_logger(room="daemon")


def load_identity(state_dir: Path) -> SecretKey:
    """Read the identity key, or make it, at first start and where it was damaged. Raises `RefusedError` saying what to do.

    With another key the node is another one, and joins anew by the token on its card. With none it would never be updated again.
    """
    path = state_dir / IDENTITY_FILE
    try:
        if path.exists() and (why := _damage(path)) is not None:
            aside = path.replace(path.with_name(f"{IDENTITY_FILE}.broken"))
            log.error(
                "the identity was damaged; this node is a new one from now on", why=why, kept_as=str(aside)
            )
        if not path.exists():
            write_secret_key(path, generate("identity"))
        return read_secret_key(path)
    except KeyFileError as error:
        raise RefusedError(str(error)) from error
    except OSError as error:
        raise RefusedError(f"{path} cannot be replaced: {error.strerror}") from error


def _damage(path: Path) -> str | None:
    """What is wrong with the content of a key file that can be read; None where it is a key."""
    data = read_bounded(path, KEY_FILE_BYTES_MAX)
    try:
        decode_key(data)
    except KeyFileError as error:
        return str(error)
    return None
