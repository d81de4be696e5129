"""What a power cut leaves of a disk: pure. Operations go in, in the order in which a node asked for them; states come out.

What is relied on, and nothing else: a sector of 512 bytes is old or new; a flush of a file makes its content durable; names and
lengths in a file system with a journal (the data partition) become durable in the order in which they were changed, those that
a flushed file needs at the latest with that flush. Everything else written since may be there or not, sector by sector, in any
order; of a sector that was written several times, any version.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from math import prod

from attrs import Factory, define, frozen

SECTOR_BYTES = 512
ENUMERATED_MAX = 1 << 16
"""States of one moment that are gone through to find the new ones among them. More: slower. Fewer: more is left to chance."""


@frozen
class Write:
    """Bytes of a file."""

    file: int
    offset: int
    data: bytes


@frozen
class Flush:
    """fsync of a file."""

    file: int


@frozen
class Link:
    """A file gets a name, at its making."""

    name: str
    file: int


@frozen
class Unlink:
    """A name goes."""

    name: str


@frozen
class Rename:
    """A file's name changes; who had the new name loses it."""

    old: str
    new: str


@frozen
class Truncate:
    """A file becomes shorter."""

    file: int
    size_bytes: int


@frozen
class FlushNames:
    """fsync of a folder."""


@frozen
class Milestone:
    """Nothing happens to the disk: a word for whoever judges."""

    word: str
    number: int


NameChange = Link | Unlink | Rename | Truncate
Operation = Write | Flush | NameChange | FlushNames | Milestone
Content = Mapping[str, bytes]
"""Name of each file, relative to the disk, and its bytes."""


@define
class Disk:
    """A disk on which operations were done, up to some moment."""

    names: dict[str, int]
    """Durable ones, as `durable`."""
    durable: dict[int, bytes]
    cache: dict[int, bytearray] = Factory(dict)
    """What a reader on the running machine sees."""
    sectors: dict[tuple[int, int], list[bytes]] = Factory(dict)
    """File and sector -> versions that are not durable yet, oldest first."""
    changes: list[NameChange] = Factory(list)
    """Not durable yet, in order."""
    done: int = 0
    """Operations so far."""
    raised: set[tuple[int, int] | None] = Factory(set)
    """What the last operation left open: sectors, or (None) the names."""

    @classmethod
    def holding(cls, content: Content) -> Disk:
        """A disk at rest. Files are numbered in the order of `content`."""
        names = {name: number for number, name in enumerate(content)}
        durable = {names[name]: data for name, data in content.items()}
        return cls(names, durable, {number: bytearray(data) for number, data in durable.items()})

    def do(self, operation: Operation) -> None:
        """One operation."""
        self.done += 1
        self.raised = {None} if isinstance(operation, NameChange) else set()
        match operation:
            case Write(file=file, offset=offset, data=data):
                self._write(file, offset, data)
            case Flush(file=file):
                self._flush(file)
            case FlushNames():
                self._settle(len(self.changes))
            case Link(file=file):
                self.cache.setdefault(file, bytearray())
                self.changes.append(operation)
            case Truncate(file=file, size_bytes=size_bytes):
                del self.cache[file][size_bytes:]
                self.changes.append(operation)
            case Unlink() | Rename():
                self.changes.append(operation)

    def _write(self, file: int, offset: int, data: bytes) -> None:
        seen = self.cache[file]
        if len(seen) < offset:
            seen.extend(bytes(offset - len(seen)))
        seen[offset : offset + len(data)] = data
        for sector in range(offset // SECTOR_BYTES, -(-(offset + len(data)) // SECTOR_BYTES)):
            at = sector * SECTOR_BYTES
            self.sectors.setdefault((file, sector), []).append(bytes(seen[at : at + SECTOR_BYTES]))
            self.raised.add((file, sector))

    def _flush(self, file: int) -> None:
        needed = [
            n for n, change in enumerate(self.changes, 1)
            if isinstance(change, Link | Truncate) and change.file == file
        ]  # fmt: skip
        self._settle(max(needed, default=0))
        self.durable[file] = bytes(self.cache[file])
        self.sectors = {key: versions for key, versions in self.sectors.items() if key[0] != file}

    def _settle(self, count: int) -> None:
        for change in self.changes[:count]:
            _change(self.names, self.durable, change)
        del self.changes[:count]

    # ------------------------------------------------------------------ states

    def choices(self) -> list[int]:
        """In how many ways each open question can end: the names first, then each sector."""
        return [len(self.changes) + 1, *(len(versions) + 1 for versions in self.sectors.values())]

    def content(self, choice: Sequence[int]) -> Content:
        """What is found after a power cut. `choice`: how many changes of names, and which version of each sector (0: old)."""
        names, files = dict(self.names), dict(self.durable)
        for change in self.changes[: choice[0]]:
            _change(names, files, change)
        kept: dict[int, bytearray] = {}
        for ((file, sector), versions), version in zip(self.sectors.items(), choice[1:], strict=True):
            if version:
                data = kept.setdefault(file, bytearray(files.get(file, b"")))
                at = sector * SECTOR_BYTES
                if len(data) < at:
                    data.extend(bytes(at - len(data)))
                data[at : at + len(versions[version - 1])] = versions[version - 1]
        return {name: bytes(kept.get(file, files.get(file, b""))) for name, file in names.items()}

    def states(self, count_max: int, rng: random.Random) -> Iterator[Content]:
        """All states, or, where there are more than `count_max`, so many of them by chance; the plainest ones in any case."""
        choices = self.choices()
        if prod(choices) <= count_max:
            yield from (self.content(_digits(number, choices)) for number in range(prod(choices)))
        else:
            yield from map(self.content, _different(_samples(choices, rng), count_max))

    def count_new(self) -> int:
        """How many states there are that a cut before the last operation could not leave. At the beginning: all."""
        choices, fresh = self.choices(), self._fresh()
        before = prod(base - (place in fresh) for place, base in enumerate(choices))
        return prod(choices) - before if self.done else prod(choices)

    def new_states(self, count_max: int, rng: random.Random) -> Iterator[Content]:
        """As `states`, for those of `count_new`."""
        choices, fresh = self.choices(), self._fresh()
        if not self.done:
            yield from self.states(count_max, rng)
        elif self.count_new() <= count_max and prod(choices) <= ENUMERATED_MAX:
            for number in range(prod(choices)):
                choice = _digits(number, choices)
                if any(choice[place] == choices[place] - 1 for place in fresh):
                    yield self.content(choice)
        elif fresh:
            samples = (_with_one_of(fresh, choice, choices, rng) for choice in _samples(choices, rng))
            yield from map(self.content, _different(samples, count_max))

    def _fresh(self) -> list[int]:
        """Places in `choices` whose last answer the last operation has added."""
        places = [0] if None in self.raised else []
        return places + [place for place, key in enumerate(self.sectors, 1) if key in self.raised]


def _change(names: dict[str, int], files: dict[int, bytes], change: NameChange) -> None:
    match change:
        case Link(name=name, file=file):
            names[name] = file
            files.setdefault(file, b"")
        case Unlink(name=name):
            names.pop(name, None)
        case Rename(old=old, new=new):
            names[new] = names.pop(old)
        case Truncate(file=file, size_bytes=size_bytes):
            files[file] = files[file][:size_bytes]


def _digits(number: int, bases: Sequence[int]) -> list[int]:
    digits = []
    for base in bases:
        number, digit = divmod(number, base)
        digits.append(digit)
    return digits


def _with_one_of(
    fresh: Sequence[int], choice: list[int], choices: Sequence[int], rng: random.Random
) -> list[int]:
    """The choice, with the last answer at one of these places at least."""
    if all(choice[place] != choices[place] - 1 for place in fresh):
        place = rng.choice(fresh)
        choice[place] = choices[place] - 1
    return choice


def _different(samples: Iterator[list[int]], count_max: int) -> Iterator[list[int]]:
    """The first so many that differ; fewer where chance finds no more in a while."""
    seen: set[tuple[int, ...]] = set()
    for choice in islice(samples, 8 * count_max):
        if tuple(choice) not in seen:
            seen.add(tuple(choice))
            yield choice
            if len(seen) == count_max:
                return


def _samples(choices: Sequence[int], rng: random.Random) -> Iterator[list[int]]:
    """Nothing kept, all kept, all but one, one alone, torn in order; then by chance, from nearly nothing to nearly all."""
    newest = [base - 1 for base in choices]
    yield [0] * len(choices)
    yield newest
    while True:
        at = rng.randrange(len(choices))
        shape = rng.randrange(4)
        if shape == 0:
            yield [*newest[:at], 0, *newest[at + 1 :]]
        elif shape == 1:
            yield [newest[n] if n == at else 0 for n in range(len(choices))]
        elif shape == 2:
            yield [newest[0], *newest[1 : at + 1], *([0] * (len(choices) - 1 - at))][: len(choices)]
        else:
            share = rng.choice((0.1, 0.5, 0.9))
            yield [rng.randrange(1, base) if base > 1 and rng.random() < share else 0 for base in choices]
