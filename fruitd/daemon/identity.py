"""The node's identity: an Ed25519 key made at first start, kept in the state directory and nowhere else."""

from __future__ import annotations

from pathlib import Path

from fruitd.errors import UsageError
from swarm.errors import KeyFileError
from swarm.trust.key_files import generate, read_secret_key, write_secret_key
from swarm.trust.keys import SecretKey

IDENTITY_FILE = "identity.key"


def load_identity(state_dir: Path) -> SecretKey:
    """Read the identity key, or make it at first start; raises UsageError saying what to do."""
    path = state_dir / IDENTITY_FILE
    try:
        if not path.exists():
            write_secret_key(path, generate("identity"))
        return read_secret_key(path)
    except KeyFileError as error:
        raise UsageError(str(error)) from error
