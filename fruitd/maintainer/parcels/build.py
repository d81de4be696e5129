"""From two images to a parcel, or from one: written beside its place first, opened again and compared before it counts."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import copyfileobj
from typing import IO

from attrs import frozen

import bep35.merkle
from fruitd.errors import RefusedError
from fruitd.gnu_gzip import Packing
from fruitd.maintainer.mistakes import as_refusals
from fruitd.maintainer.parcels.gzipped import Inside, looked_into
from fruitd.maintainer.parcels.mapping import Data, forget, mapped
from fruitd.maintainer.parcels.movement import spans_of
from fruitd.maintainer.parcels.packing import LEVEL, Packer
from fruitd.maintainer.parcels.spans import Span
from swarm.parcel.frames import held
from swarm.parcel.header import NOTHING, Made, check_of, decode_head, encode_head, head_bytes_of
from swarm.parcel.limits import BLOCK_BYTES
from swarm.parcel.recipe import Origin
from swarm.parcel.unpack import PART_BYTES, Images, Unpacker

Progress = Callable[[int, int], None]
"""Told (work done, work in all), in bytes looked at; never goes back."""
_INSIDE_SHARE, _PACKING_SHARE, _PROVING_SHARE = 1, 9, 1
"""How many times as long as looking it takes to look inside gzip, to pack and to prove, for a release with a kernel and
documentation; less or more only bends the time left."""


@frozen
class BuiltParcel:
    """What a parcel is, and what it is made of."""

    image: Path
    older: Path | None
    path: Path
    length_bytes: int
    image_root: bytes
    from_root: bytes
    """`NOTHING`: it needs no older image."""
    copied_bytes: int
    zero_bytes: int
    fresh_bytes: int
    """What had to be packed."""
    members: int
    """Files in gzip that are packed anew by the node, of what they hold."""
    member_bytes: int
    """What those have in the image."""
    packed_bytes: int
    """What all that came to."""
    fresh: tuple[Span, ...]
    """Where the fresh bytes lie in the image."""


def build_parcel(
    image: Path,
    older: Path | None,
    output: Path,
    *,
    threads: int | None = None,
    level: int = LEVEL,
    progress: Progress | None = None,
) -> BuiltParcel:
    """Build the parcel that makes `image` out of `older`, or out of nothing, at `output`.

    Args:
        image, older: files; they must not change meanwhile.
        output: made whole or not at all; replaced if it is there.
        threads: None: one for each core this process may use.
        level: of zstd.
        progress: see there.

    Raises:
        RefusedError: an image cannot be read or is empty, it changed meanwhile, or the two have so little order in common that
        no header can tell of it.

    Memory: the two images are mapped, and forgotten as they were looked at; beside that some 150 bytes for each 4 KiB of the
    older one, 6 bytes for each 128 bytes of both, and 250 MiB for each thread.
    """
    threads = threads or len(os.sched_getaffinity(0))
    with (
        as_refusals(f"image {image}"),
        mapped(image) as new,
        as_refusals(f"image {older}"),
        mapped(older) as old,
    ):
        image_root, from_root = _root_of(new), _root_of(old) if old else NOTHING
        build = _Build(old, new, image_root, from_root, threads, level, progress)
        return build.run(image, older, output)


def _root_of(data: Data) -> bytes:
    step = bep35.merkle.CHUNK_BYTES
    leaves = b"".join(bep35.merkle.leaf_hashes(data[at : at + step]) for at in range(0, len(data), step))
    forget(data)
    return bep35.merkle.root_of(leaves)


class _Build:
    def __init__(
        self,
        old: Data,
        new: Data,
        image_root: bytes,
        from_root: bytes,
        threads: int,
        level: int,
        progress: Progress | None,
    ) -> None:
        self.old, self.new = old, new
        self.image_root, self.from_root = image_root, from_root
        self.threads, self.level = threads, level
        self.progress = progress or (lambda done, total: None)

    def run(self, image: Path, older: Path | None, output: Path) -> BuiltParcel:
        look_bytes = len(self.old) + 2 * len(self.new)
        shares = (1, _INSIDE_SHARE if self.old else 0, _PACKING_SHARE, _PROVING_SHARE)
        looking, looking_inside, packing, proving = _phases(self.progress, look_bytes, shares)
        spans = spans_of(self.old, self.new, lambda done: looking(done / look_bytes))
        unnamed = output.with_name(f".{output.name}.{secrets.token_hex(8)}")
        frames = unnamed.with_name(unnamed.name + ".frames")
        try:
            with (
                open(frames, "w+b") as spool,
                looked_into(self.old, self.new, spans, output.parent, self.threads, looking_inside) as (
                    spans,
                    inside,
                ),
            ):
                made = self._pack(
                    spans,
                    inside,
                    spool,
                    packing,
                )
                head = encode_head(self.image_root, len(self.new), self.from_root, len(self.old), made)
                spool.seek(0)
                with open(unnamed, "w+b") as file:
                    file.write(head)
                    copyfileobj(spool, file, 1024 * 1024)
                    file.flush()
                    self._prove(file, proving)
                    os.fsync(file.fileno())
                    length_bytes = file.tell()
            unnamed.rename(output)
        finally:
            frames.unlink(missing_ok=True)
            unnamed.unlink(missing_ok=True)
        by_origin = {o: sum(s.length_bytes for s in spans if s.origin is o) for o in Origin}
        return BuiltParcel(
            image=image,
            older=older,
            path=output,
            length_bytes=length_bytes,
            image_root=self.image_root,
            from_root=self.from_root,
            copied_bytes=by_origin[Origin.COPY],
            zero_bytes=by_origin[Origin.ZEROS],
            fresh_bytes=by_origin[Origin.FRESH],
            members=sum(s.origin is Origin.PACKED for s in spans),
            member_bytes=by_origin[Origin.PACKED],
            packed_bytes=sum(m.recipe.frame_bytes for m in made),
            fresh=tuple(s for s in spans if s.origin is Origin.FRESH),
        )

    def _pack(
        self, spans: list[Span], inside: Inside, spool: IO[bytes], tell: Callable[[float], None]
    ) -> list[Made]:
        packer = Packer(self.old, self.new, spans, inside, threads=self.threads, level=self.level)
        fresh_bytes = sum(s.length_bytes for s in spans if s.origin is Origin.FRESH)
        fresh_bytes += sum(s.member.text_bytes for s in spans if s.member is not None)
        made: list[Made] = []
        done = 0
        for packed in packer.packed():
            spool.write(packed.frames)
            forget(self.old, self.new, inside.old, inside.new)
            made.append(packed.made)
            if packed.frames:
                done += packed.made.recipe.fresh_bytes
                tell(done / fresh_bytes)
        return made

    def _prove(self, file: IO[bytes], tell: Callable[[float], None]) -> None:
        """Open what was built as a node will. Leaves the file at its end."""
        file.seek(0, os.SEEK_END)
        length_bytes = file.tell()
        file.seek(0)
        prefix = file.read(16)
        parcel = decode_head(prefix + file.read(head_bytes_of(prefix) - len(prefix)), length_bytes)
        images, unpacker = Images(_reader(self.old), _reader(self.new), Packing), Unpacker()
        room = itertools.repeat(memoryview(bytearray(PART_BYTES)))
        for segment in parcel.segments:
            file.seek(segment.frame_offset)
            frames = held(file.read(segment.frame_bytes))
            output = bytearray()
            for _, part in unpacker.parts(parcel, segment, frames, images, room):
                output += part
            expected = b"".join(
                self.new[run.block * BLOCK_BYTES : run.end * BLOCK_BYTES] for run in segment.runs
            )
            forget(self.old, self.new)
            if output != expected or check_of(output) != segment.check:
                raise RefusedError("the parcel does not make the image: one of the two changed meanwhile")
            tell((segment.number + 1) / len(parcel.segments))
        file.seek(0, os.SEEK_END)


def _phases(progress: Progress, unit: int, shares: Sequence[int]) -> list[Callable[[float], None]]:
    """For each phase, what is to be told how far it is, 0..1; phases follow each other."""

    def phase(before: int, share: int) -> Callable[[float], None]:
        return lambda done: progress(int(unit * (before + share * done)), unit * sum(shares))

    return [phase(sum(shares[:number]), share) for number, share in enumerate(shares)]


def _reader(data: Data) -> Callable[[int, memoryview], None]:
    def read(offset: int, into: memoryview) -> None:
        into[:] = data[offset : offset + len(into)]

    return read
