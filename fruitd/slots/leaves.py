"""The leaves of what lies in a slot or an image file: read and hashed chunk by chunk, by two threads beside each other, in order.

Reading and hashing both let go of the interpreter: two processors work, and a medium is read while what it gave is hashed.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import TypeAlias

from bep35.merkle import HASH_BYTES
from fruitd.slots.past_cache import aligned_buffer, past_cache, read_whole
from swarm.transfer.port import BLOCK_BYTES

CHUNK_BYTES = 1024 * 1024
"""Read at once, and how often cancelling is looked for. Larger only costs memory."""
THREADS = 2
"""One more chunk than that is in memory. 128 MiB on two processors with SHA instructions take 0.11 s instead of 0.13, and 0.2 s
of processor; with a hash four times as slow, as on boards without them, 0.30 instead of 0.50, and 0.56. More would wait for the
interpreter."""
Leaves: TypeAlias = list[bytes | None]
"""None where a block cannot be read."""
_ZEROS = bytes(BLOCK_BYTES)
ZERO_LEAF = sha256(_ZEROS).digest()


def read_leaves(
    descriptor: int,
    length_bytes: int,
    tell: Callable[[float], None],
    checkpoint: Callable[[], None],
) -> Generator[tuple[int, Leaves], None, None]:
    """The leaves of an open slot or image, chunk by chunk in order: the chunk's first block, and a leaf for each of its blocks.

    Close what this gives before the descriptor: threads read from it until then, past the page cache.

    Args:
        descriptor: open for reading.
        length_bytes: of the image.
        tell: called with 0..1 as the work goes on, in the caller's thread.
        checkpoint: called about once per MiB, likewise; may raise to cancel.
    """
    buffers = [aligned_buffer(min(CHUNK_BYTES, length_bytes)) for _ in range(THREADS + 1)]
    going: deque[Future[Leaves]] = deque()
    block = 0
    with past_cache(descriptor), ThreadPoolExecutor(THREADS, "leaves") as pool:
        for number, offset in enumerate(range(0, length_bytes, CHUNK_BYTES)):
            buffer, size_bytes = buffers[number % len(buffers)], min(CHUNK_BYTES, length_bytes - offset)
            going.append(pool.submit(leaves_in, descriptor, buffer, size_bytes, offset))
            last = offset + CHUNK_BYTES >= length_bytes
            # The oldest has to be done before the next is begun, in its buffer.
            while going and (last or len(going) == len(buffers)):
                checkpoint()
                leaves = going.popleft().result()
                yield block, leaves
                block += len(leaves)
                tell(min(1.0, block * BLOCK_BYTES / length_bytes))


def unlike(found: Leaves, first: int, wanted: bytes) -> list[int]:
    """Blocks, of those that begin with `first`, whose leaves are not the ones wanted.

    Args:
        found: of these blocks.
        wanted: of the whole image, 32 bytes for each block.
    """
    expected = wanted[HASH_BYTES * first : HASH_BYTES * (first + len(found))]
    if None not in found and b"".join(found) == expected:  # type: ignore[arg-type]  # as was just seen
        return []
    return [
        first + number
        for number, leaf in enumerate(found)
        if leaf != expected[HASH_BYTES * number : HASH_BYTES * (number + 1)]
    ]


def is_hole(descriptor: int, offset: int, size_bytes: int) -> bool:
    """Is there nothing in this part of a sparse file? Reading it would fill the page cache with zeros."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA) >= offset + size_bytes
    except OSError as error:
        # ENXIO: a hole up to the end, or beyond it. Block devices know no holes: EINVAL.
        return error.errno == errno.ENXIO and offset + size_bytes <= os.lseek(descriptor, 0, os.SEEK_END)


def leaves_in(descriptor: int, buffer: memoryview, size_bytes: int, offset: int) -> Leaves:
    """Of a chunk of so many bytes that begins at a block, read into the buffer."""
    starts = range(0, size_bytes, BLOCK_BYTES)
    sizes = [min(BLOCK_BYTES, size_bytes - start) for start in starts]
    if _is_blank(descriptor, offset, size_bytes):
        return [ZERO_LEAF if size == BLOCK_BYTES else sha256(bytes(size)).digest() for size in sizes]
    whole = read_whole(descriptor, buffer, size_bytes, offset)
    # One bad sector must not condemn its whole neighbourhood: the number of bad blocks is told to people.
    return [
        _leaf(buffer[start : start + size])
        if whole or read_whole(descriptor, buffer[start:], size, offset + start)
        else None
        for start, size in zip(starts, sizes, strict=True)
    ]


def _leaf(block: memoryview) -> bytes:
    """Free space, a quarter of most images, is told at a twentieth of what hashing it takes."""
    is_zeros = len(block) == BLOCK_BYTES and _ZEROS.startswith(block)
    return ZERO_LEAF if is_zeros else sha256(block).digest()


def _is_blank(descriptor: int, offset: int, size_bytes: int) -> bool:
    """Zeros that need not be read."""
    try:
        return is_hole(descriptor, offset, size_bytes)
    except OSError:
        return False
