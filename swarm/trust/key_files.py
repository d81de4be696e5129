"""Key files on disk. A shell: the format and every check on it is `keys`.

A secret key file is made with mode 0600, never over an existing file, and refused when others could have
read it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import nacl.utils

from swarm.durable import sync_folder
from swarm.errors import KeyFileError
from swarm.trust.keys import KEY_BYTES, KEY_FILE_BYTES_MAX, PublicKey, SecretKey


def generate(name: str) -> SecretKey:
    """A new key from the system's randomness; nothing is written."""
    return SecretKey(nacl.utils.random(KEY_BYTES), name)


def create_key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """Make NAME.key and NAME.pub in `folder`; the paths. Leaves neither behind if one cannot be made."""
    key = generate(name)
    secret_path, public_path = folder / f"{name}.key", folder / f"{name}.pub"
    write_new(secret_path, key.encode(), 0o600)
    try:
        write_new(public_path, key.public.encode(), 0o644)
    except BaseException:
        secret_path.unlink()
        raise
    return secret_path, public_path


def write_secret_key(path: Path, key: SecretKey) -> None:
    """Write a secret key file, durable and for the owner only; raises `KeyFileError` if the path exists."""
    write_new(path, key.encode(), 0o600)


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that was not there before, whole and durable, or leave nothing; raises `KeyFileError`.

    It gets its name only once it is whole, so that a power cut never leaves half a key behind under that name.
    """
    try:
        unnamed = _write_unnamed(path, data, mode)
        try:
            _give_name(unnamed, path)
        finally:
            unnamed.unlink(missing_ok=True)
        sync_folder(path.parent)
    except FileExistsError as error:
        raise KeyFileError(f"{path} is there already and is not overwritten; choose another name") from error
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from error


def read_secret_key(path: Path) -> SecretKey:
    """Raises `KeyFileError` naming the file, also where group or others have any right to it."""
    data, mode = _read(path)
    try:
        key = SecretKey.decode(data)
    except KeyFileError as error:
        raise KeyFileError(f"{path} {error}") from error
    if mode & 0o077:
        raise KeyFileError(
            f"{path} is open to other users (mode {mode:04o}): if nobody else can have read it, "
            f"run chmod 600 {path}; if somebody can, make a new key"
        )
    return key


def read_public_key(path: Path) -> PublicKey:
    """Read a public key file, or the public half of a secret one; raises `KeyFileError` naming the file."""
    data, _ = _read(path)
    try:
        return PublicKey.decode(data)
    except KeyFileError as error:
        raise KeyFileError(f"{path} {error}") from error


def read_bounded(path: Path, size_bytes_max: int) -> bytes:
    """A regular file of at most `size_bytes_max`; raises `KeyFileError` naming the file and what to do."""
    data, _ = _read(path, size_bytes_max)
    return data


def _write_unnamed(path: Path, data: bytes, mode: int) -> Path:
    """The data, durable, under a name nobody looks for, in the same folder."""
    unnamed = path.with_name(f".{path.name}.{nacl.utils.random(8).hex()}")
    handle = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        unnamed.unlink(missing_ok=True)
        raise
    return unnamed


def _give_name(unnamed: Path, path: Path) -> None:
    """Name a file without ever replacing one; raises FileExistsError."""
    try:
        os.link(unnamed, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        # A file system without hard links, such as FAT: claim the name first, then put the file in its place.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        unnamed.replace(path)


def _read(path: Path, size_bytes_max: int = KEY_FILE_BYTES_MAX) -> tuple[bytes, int]:
    try:
        # O_NONBLOCK: a FIFO put in the place of a key must not make the caller wait.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileError(f"{path} is not a regular file")
            data = file.read(size_bytes_max + 1)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > size_bytes_max:
        raise KeyFileError(f"{path} is larger than {size_bytes_max} bytes; is it the right file?")
    return data, stat.S_IMODE(status.st_mode)
