"""zstd frames as parcels hold them: one frame, its length opened known beforehand, a raw dictionary or none."""

from __future__ import annotations

import zstandard

from swarm.errors import RefusedError


def raw_dictionary(data: bytes | bytearray | memoryview) -> zstandard.ZstdCompressionDict:
    """A dictionary of bytes as they are; zstd keeps a copy of its own, so that `data` can be let go."""
    return zstandard.ZstdCompressionDict(data, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def opened_frame(
    frame: bytes, opened_bytes: int, dictionary: zstandard.ZstdCompressionDict | None = None
) -> bytes:
    """What is in a frame. `RefusedError` where that is not `opened_bytes` long; nothing larger is ever allocated."""
    try:
        # A frame that tells its length is opened in one go: no window is allocated, whatever size the frame asks for.
        if zstandard.frame_content_size(frame) != opened_bytes:
            raise RefusedError("parcel: a frame tells of another length than its header")
        opened = zstandard.ZstdDecompressor(dict_data=dictionary).decompress(
            frame, max_output_size=opened_bytes, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise RefusedError(f"parcel: a damaged frame ({error})") from error
    if len(opened) != opened_bytes:
        raise RefusedError("parcel: a frame opens to another length than its header tells")
    return opened
