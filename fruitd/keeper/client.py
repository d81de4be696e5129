"""The keeper as the daemon sees it when it is a process of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fruitd.boot_facts import BootFacts
from fruitd.errors import BugError, RetryError
from fruitd.keeper import wire
from fruitd.keeper.port import Proof


class KeeperClient:
    """`SlotKeeper` over the Unix socket at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def facts(self) -> BootFacts:
        """See `SlotKeeper.facts`."""
        match self._ask(wire.Facts()):
            case [str(boot_id), str(active), str(default), str() | None as armed]:
                return BootFacts(boot_id, active, default, armed)
        raise BugError("the keeper's facts are not of this release")

    def paths(self) -> Mapping[str, Path]:
        """See `SlotKeeper.paths`."""
        match self._ask(wire.Paths()):
            case [str(a), str(b)]:
                return {"a": Path(a), "b": Path(b)}
        raise BugError("the keeper's paths are not of this release")

    def slot_bytes(self, slot: str) -> int:
        """See `SlotKeeper.slot_bytes`."""
        return int(self._ask(wire.SlotBytes(slot)))

    def lend(self, slot: str, image_bytes: int) -> None:
        """See `SlotKeeper.lend`."""
        self._ask(wire.Lend(slot, image_bytes))

    def check(
        self,
        slot: str,
        proof: Proof,
        leaves: bytes,
        length_bytes: int,
        tell: Callable[[float], None],
        checkpoint: Callable[[], None],
    ) -> list[int]:
        """See `SlotKeeper.check`. Where the checkpoint raises, the keeper stops reading too."""
        bad: list[int] = []
        position = 0

        def compare(found: bytes) -> None:
            nonlocal position
            checkpoint()
            wanted = leaves[position : position + len(found)]
            differ = (at for at in range(0, len(found), 32) if found[at : at + 32] != wanted[at : at + 32])
            bad.extend((position + at) // 32 for at in differ)
            position += len(found)
            tell(min(1.0, position / len(leaves)))

        whole = self._ask(wire.Check(slot, proof), compare, wire.CHECK_TIMEOUT_S)
        if position != len(leaves) or bool(whole) != (not bad):
            raise BugError("the keeper and the daemon do not agree on what the slot holds")
        return bad

    def arm(self, slot: str, infohash: bytes) -> None:
        """See `SlotKeeper.arm`."""
        self._ask(wire.Arm(slot, infohash))

    def commit(self, slot: str) -> None:
        """See `SlotKeeper.commit`."""
        self._ask(wire.Commit(slot))

    def restart(self) -> bool:
        """See `SlotKeeper.restart`."""
        return bool(self._ask(wire.Restart()))

    def _ask(
        self,
        request: wire.Request,
        take_leaves: Callable[[bytes], None] | None = None,
        timeout_s: float = 2 * wire.TIMEOUT_S,
    ) -> Any:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(timeout_s)
                connection.connect(str(self._path))
                wire.send(connection, wire.encode_request(request))
                while data := wire.receive(connection):
                    ended, value = wire.decode_reply(data)
                    if ended:
                        return value
                    if take_leaves is None:
                        raise BugError("the keeper gives leaves that nobody asked for")
                    take_leaves(value)
        except OSError as error:
            why = error.strerror or str(error)
            raise RetryError(
                f"the keeper at {self._path} does not answer: {why}; is fruitd-keeper running?"
            ) from error
        raise RetryError(f"the keeper at {self._path} ended in the middle of its answer")
