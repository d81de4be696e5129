"""What the keeper's process does: each request of the daemon, judged by the book and what the maintainers signed, then done."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import attrs

from bep35.merkle import BLOCK_BYTES, root_of, root_of_layer
from fruitd.boot.port import BootBackend
from fruitd.errors import RetryError, SlotError
from fruitd.keeper.book import BOOK_BYTES_MAX, SLOTS, Book
from fruitd.keeper.lending import NODES, Loan
from fruitd.keeper.port import Proof
from fruitd.keeper.restart import run_restart_command
from fruitd.keeper.verdict import Belief, judge
from fruitd.keeper.wire import Arm, Check, Commit, Facts, Lend, Paths, Request, Restart, SlotBytes
from fruitd.logs import get_logger
from fruitd.slots import slot
from fruitd.slots.leaves import read_leaves
from swarm.durable import write_durably

LEAVES_PER_MESSAGE = 64
"""1 MiB of the slot, and a whole subtree: a power of two. Fewer cost more messages; more let the daemon wait for progress."""
_UNREADABLE = bytes(32)
log = get_logger(room="keeper")


class Keeper:
    """Holds the slots and the boot environment.

    Args:
        boot: the boot backend.
        slots: path of each slot.
        belief: whom this node believes, and what it is.
        book_path: where the book is kept; nobody else may write there.
        group: of the daemon's user, which reads the slots and borrows one; None: modes are left alone.
        restart_command: the owner's; empty: the boot backend's.
        nodes: folder of the keeper's own device nodes.
    """

    def __init__(
        self,
        boot: BootBackend,
        slots: Mapping[str, Path],
        belief: Belief,
        book_path: Path,
        group: int | None,
        restart_command: Sequence[str] = (),
        nodes: Path = NODES,
    ) -> None:
        self._boot = boot
        self._slots = dict(slots)
        self._belief = belief
        self._book_path = book_path
        self._lent = {name: Loan(name, path, group, nodes) for name, path in slots.items()}
        self._restart_command = tuple(restart_command)
        self._leaving_for: str | None = None
        """The slot that was armed when the machine was told to restart."""
        self._saved = self._book = _read_book(book_path)
        facts = boot.facts()
        self._book = self._book.started(facts.active, facts.default)

    def open(self) -> None:
        """Take back what may be lent: a loan does not outlive the process that gave it."""
        active = self._active()
        for name, path in self._slots.items():
            try:
                slot.inspect(path, active=active, image_bytes=0, write=False)
            except SlotError:
                self._lent[name].open(in_use=True)
            else:
                self._lent[name].open(in_use=False)

    def handle(self, request: Request, give_leaves: Callable[[bytes], None]) -> object:
        """Carry out one request; what is to be told. Raises `FruitError`, and whatever `give_leaves` raises."""
        match request:
            case Facts():
                return list(attrs.astuple(self._boot.facts()))
            case Paths():
                return [str(self._lent[name].path) for name in SLOTS]
            case SlotBytes(slot=name):
                return slot.inspect(
                    self._path(name), active=self._active(), image_bytes=0, write=False
                ).size_bytes
            case Lend(slot=name, image_bytes=image_bytes):
                self._lend(name, image_bytes)
            case Check(slot=name, proof=proof):
                return self._check(name, proof, give_leaves)
            case Arm(slot=name, infohash=infohash):
                self._book.check_armable(name, infohash)
                self._boot.arm(name)
            case Commit(slot=name):
                facts = self._boot.facts()
                book = self._book.committed(name, facts.active, facts.default)
                self._boot.commit(name)
                self._keep(book)
            case Restart():
                return self._restart()
        return None

    def _lend(self, name: str, image_bytes: int) -> None:
        path = self._path(name)
        facts = self._boot.facts()
        book = self._book.lent(name, facts.active)
        if name == self._leaving_for:
            raise RetryError(f"slot {name} is not lent: the machine was told to restart into it")
        slot.inspect(path, active=self._active(), image_bytes=image_bytes, write=False)
        if name in (facts.default, facts.armed):
            # What boots next is never what is being written: a cut now must find the slot that runs.
            if not self._book.row(facts.active).good:
                raise SlotError(f"slot {name} boots next, and slot {facts.active} is not known to be good")
            self._boot.commit(facts.active)
        self._keep(book)
        self._lent[name].begin()
        slot.inspect(self._lent[name].path, active=self._active(), image_bytes=image_bytes)

    def _restart(self) -> bool:
        command = self._restart_command or self._boot.restart_command()
        if command is None:
            return False
        # Before the command: it may succeed and its end be missed. A restart that was asked for cannot be taken back, nor can the
        # trial it was asked for, where that is an argument of it.
        self._leaving_for = self._boot.facts().armed or self._leaving_for
        run_restart_command(command)
        return True

    def _check(self, name: str, proof: Proof, give_leaves: Callable[[bytes], None]) -> bool:
        image, book = judge(self._belief, self._book, name, proof)
        self._lent[name].end()
        if self._root(self._path(name), image.length_bytes, give_leaves) != image.pieces_root:
            return False
        self._keep(book.proved(name, image))
        return True

    def _root(self, path: Path, length_bytes: int, give_leaves: Callable[[bytes], None]) -> bytes:
        """The root of the hash tree over what lies on the medium; the leaves are given as they are read."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SlotError(f"slot {path} cannot be opened: {error.strerror}") from error
        subtrees = bytearray()
        leaves = b""
        try:
            os.posix_fadvise(descriptor, 0, length_bytes, os.POSIX_FADV_DONTNEED)
            with contextlib.closing(read_leaves(descriptor, length_bytes, _nothing, _nothing)) as chunks:
                found = (leaf or _UNREADABLE for _, chunk in chunks for leaf in chunk)
                while batch := list(islice(found, LEAVES_PER_MESSAGE)):
                    leaves = b"".join(batch)
                    subtrees += root_of(leaves.ljust(32 * LEAVES_PER_MESSAGE, b"\0"))
                    give_leaves(leaves)
        finally:
            os.close(descriptor)
        if len(subtrees) == 32:
            return root_of(leaves)
        return root_of_layer(bytes(subtrees), BLOCK_BYTES * LEAVES_PER_MESSAGE)

    def _keep(self, book: Book) -> None:
        """Make the book durable before what it allows is done."""
        if book != self._saved:
            try:
                write_durably(self._book_path, book.encode())
            except OSError as error:
                raise RetryError(f"{self._book_path} cannot be written: {error.strerror}") from error
        self._saved = self._book = book

    def _path(self, name: str) -> Path:
        self._book.row(name)
        return self._slots[name]

    def _active(self) -> Path | None:
        return self._slots.get(self._boot.facts().active)


def _nothing(_done: float = 0.0) -> None:
    """Nobody waits for progress here: the daemon counts the leaves it is given."""


def _read_book(path: Path) -> Book:
    """The book; a new one where it cannot be read, as nothing is ever unsafe with a keeper that knows nothing: slots are proved
    anew. Only the floor and the roots are lost, and that is said."""
    try:
        with open(path, "rb") as file:
            return Book.decode(file.read(BOOK_BYTES_MAX))
    except FileNotFoundError:
        return Book()
    except (OSError, SlotError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
    aside = path.with_name(f"{path.name}.broken")
    with contextlib.suppress(OSError):  # the next write replaces it anyway
        path.replace(aside)
    log.error("the book was damaged and is begun anew", path=str(path), why=why, kept_as=str(aside))
    return Book()
