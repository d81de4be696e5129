"""Key files on disk. A shell: the formats and every check on them are `keys`, `locked_key` and `command_key`.

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
from swarm.trust.any_key import AnyKey, decode_key, public_half
from swarm.trust.command_key import CommandKey
from swarm.trust.key_document import KEY_FILE_BYTES_MAX
from swarm.trust.keys import KEY_BYTES, PublicKey, SecretKey
from swarm.trust.locked_key import MODERATE, NONCE_BYTES, SALT_BYTES, Cost, LockedKey


def generate(name: str) -> SecretKey:
    """A new key from the system's randomness; nothing is written."""
    return SecretKey(nacl.utils.random(KEY_BYTES), name)


def lock(key: SecretKey, passphrase: str, cost: Cost = MODERATE) -> LockedKey:
    """The key, locked with salt and nonce from the system's randomness; nothing is written."""
    salt, nonce = nacl.utils.random(SALT_BYTES), nacl.utils.random(NONCE_BYTES)
    return LockedKey.lock(key, passphrase, salt=salt, nonce=nonce, cost=cost)


def create_key_pair(
    folder: Path, name: str, passphrase: str | None = None, cost: Cost = MODERATE
) -> tuple[Path, Path]:
    """Make NAME.key, locked if there is a passphrase, and NAME.pub in `folder`; the paths.

    Leaves neither behind if one cannot be made.
    """
    key = generate(name)
    secret_path, public_path = folder / f"{name}.key", folder / f"{name}.pub"
    write_new(secret_path, (key if passphrase is None else lock(key, passphrase, cost)).encode(), 0o600)
    try:
        write_new(public_path, key.public.encode(), 0o644)
    except BaseException:
        secret_path.unlink()
        raise
    return secret_path, public_path


def replace_key(path: Path, key: SecretKey | LockedKey) -> None:
    """Write the same key in another form in the place of its file, whole and durable, or leave that as it was."""
    if read_public_key(path) != key.public:
        raise KeyFileError(f"{path} holds another key by now; it stays as it is")
    replace_file(path, key.encode(), 0o600)


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Put a file in the place of one, whole and durable, or leave that as it was; raises `KeyFileError`."""
    try:
        unnamed = _write_unnamed(path, data, mode)
        try:
            unnamed.replace(path)
        finally:
            unnamed.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from error


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
    """A key that lies open, such as a node's identity; raises `KeyFileError` naming the file.

    Also where group or others have any right to it.
    """
    key = read_key(path)
    match key:
        case SecretKey():
            return key
        case PublicKey():
            raise KeyFileError(f"{path} is a public key; the secret half is needed here (the .key file)")
        case LockedKey():
            raise KeyFileError(f"{path} is locked with a passphrase; a key that lies open is needed here")
    raise KeyFileError(f"{path} is a key kept elsewhere; a key that lies open is needed here")


def read_key(path: Path) -> AnyKey:
    """A key file of any kind; raises `KeyFileError` naming the file, also where others have rights they must not have."""
    data, mode = _read(path)
    try:
        key = decode_key(data)
    except KeyFileError as error:
        raise KeyFileError(f"{path} {error}") from error
    if isinstance(key, SecretKey | LockedKey) and mode & 0o077:
        raise KeyFileError(
            f"{path} is open to other users (mode {mode:04o}): if nobody else can have read it, "
            f"run chmod 600 {path}; if somebody can, make a new key"
        )
    if isinstance(key, CommandKey) and mode & 0o022:
        raise KeyFileError(
            f"{path} names a command and can be changed by other users (mode {mode:04o}): look at the command, "
            f"then run chmod 644 {path}"
        )
    return key


def read_public_key(path: Path) -> PublicKey:
    """The public half in a key file of any kind; raises `KeyFileError` naming the file."""
    data, _ = _read(path)
    try:
        return public_half(decode_key(data))
    except KeyFileError as error:
        raise KeyFileError(f"{path} {error}") from error


def read_passphrase(path: Path) -> str:
    """The passphrase in a file, its first line; raises `KeyFileError`, also where others have rights to it."""
    data, mode = _read(path)
    if mode & 0o077:
        raise KeyFileError(f"{path} is open to other users (mode {mode:04o}): run chmod 600 {path}")
    try:
        words = data.decode().split("\n", 1)[0].rstrip("\r")
    except UnicodeDecodeError as error:
        raise KeyFileError(f"{path} holds no passphrase: it is not UTF-8 text") from error
    if not words:
        raise KeyFileError(f"{path} holds no passphrase: its first line is empty")
    return words


def read_private(path: Path, size_bytes_max: int) -> bytes:
    """As `read_bounded`, and refused where group or others have any right to it."""
    data, mode = _read(path, size_bytes_max)
    if mode & 0o077:
        raise KeyFileError(f"{path} is open to other users (mode {mode:04o}); run chmod 600 {path}")
    return data


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
