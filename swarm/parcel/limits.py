"""What one segment of a parcel may ask of a node. Larger ones would pack a little tighter and need more memory to open.

A node has about 32 MiB between what it needs when idle and what it may ever use (design, promise 6). While a segment is opened
its dictionary and what comes of its frame are in memory, once (`frames.FrameOpener`).
"""

from __future__ import annotations

from typing import Final

from bep35.merkle import BLOCK_BYTES as BLOCK_BYTES  # 16 KiB, fixed by BEP-52
from bep35.merkle import HASH_BYTES as HASH_BYTES

IMAGE_BYTES_MAX: Final = 64 * 1024**3
"""Same as the manifest's bound."""
FRESH_BYTES_MAX: Final = 8 * 1024 * 1024
"""Most that one frame opens to."""
FRAME_BYTES_MAX: Final = FRESH_BYTES_MAX + 64 * 1024
"""zstd never makes anything longer by more than one part in 256 and some hundred bytes."""
DICTIONARY_BYTES_MAX: Final = 8 * 1024 * 1024
FRAMES_MAX: Final = 16
"""Of one segment; they are opened one after the other. Fewer: an initrd in gzip could not be looked into."""
DICTIONARY_RANGES_MAX: Final = 8 * 1024
"""Of one segment. Some 150 bytes each while it is made."""
INFLATED_BYTES_MAX: Final = 128 * 1024 * 1024
"""Most that is inflated for one dictionary, what is skipped included: some seconds of a small processor."""
OUTPUT_BYTES_MAX: Final = 32 * 1024 * 1024
"""Most that one segment makes. What is copied or zero passes through block by block and is never held."""
RECIPE_BYTES_MAX: Final = 256 * 1024
SEGMENTS_MAX: Final = 32 * 1024
HEADER_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of the opened header. An image of 2 GiB in which every fifth 16 KiB block has moved elsewhere needs about 200 KiB."""
HEADER_FRAME_BYTES_MAX: Final = HEADER_BYTES_MAX + 64 * 1024
CHECK_BYTES: Final = 16
