"""Streams as datagrams on real sockets: the asker's wait, and the answers to others (`swarm.slices`)."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable

import trio

from swarm.address import Address
from swarm.errors import Reason, RefusedError, UnavailableError
from swarm.slices import (
    AGAIN_S,
    REQUEST_BYTES_MAX,
    TOKEN_BYTES,
    Collector,
    ReplyShelf,
    Slice,
    Want,
    decode,
    slices_of,
)

HEAD_START_S = 1.0
"""A stream has so long to connect before datagrams are tried beside it. Shorter: both are tried where a line is slow; longer:
each exchange with a node behind a translator waits longer."""
REMEMBERED_MAX = 64
"""Peers to whom datagrams led and no stream: next time both begin at once."""
COLLECTING_MAX = 16

Send = Callable[[bytes, Address], Awaitable[None]]
Answer = Callable[[bytes, Address], tuple[bytes, Iterable[object]]]


class Sliced:
    """All exchanges by datagrams of one node.

    Args:
        send: one datagram from the control port.
        clock: steady seconds.
    """

    def __init__(self, send: Send, clock: Callable[[], float]) -> None:
        self._send = send
        self._clock = clock
        self._collecting: dict[bytes, tuple[Collector, Address, trio.Event]] = {}
        self._shelf = ReplyShelf()
        self._needed: dict[Address, None] = {}

    async def race(
        self, stream: Callable[[], Awaitable[bytes]], to: Address, request: bytes, timeout_s: float
    ) -> bytes:
        """The reply, by stream or by datagrams, whichever brings it first.

        Raises what the stream raised if neither did; `RefusedError` of the stream at once: somebody was there.
        """
        if len(request) > REQUEST_BYTES_MAX or len(self._collecting) >= COLLECTING_MAX:
            return await stream()
        replies: list[bytes] = []
        errors: list[UnavailableError | RefusedError] = []
        failed = trio.Event()

        async def by_stream() -> None:
            try:
                replies.append(await stream())
            except UnavailableError as error:
                errors.insert(0, error)
                failed.set()
                return
            except RefusedError as error:
                errors.insert(0, error)
            nursery.cancel_scope.cancel()

        async def by_datagrams() -> None:
            if to not in self._needed:
                with trio.move_on_after(HEAD_START_S):
                    await failed.wait()
            try:
                replies.append(await self.ask(to, request, timeout_s))
            except UnavailableError as error:
                errors.append(error)
                return
            self._remember(to)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(by_stream)
            nursery.start_soon(by_datagrams)
        if replies:
            return replies[0]
        raise errors[0]

    async def ask(self, to: Address, request: bytes, timeout_s: float) -> bytes:
        """One exchange by datagrams; `UnavailableError` if the reply is not whole in time."""
        token = secrets.token_bytes(TOKEN_BYTES)
        collector = Collector(token, request)
        try:
            with trio.fail_after(timeout_s):
                while True:
                    came = trio.Event()
                    self._collecting[token] = (collector, to, came)
                    for datagram in collector.due(self._clock()):
                        await self._send(datagram, to)
                    with trio.move_on_after(AGAIN_S):
                        await came.wait()
                    if collector.reply is not None:
                        return collector.reply
        except trio.TooSlowError:
            raise UnavailableError(f"no whole answer by datagrams within {timeout_s:.0f} s") from None
        finally:
            del self._collecting[token]

    async def received(
        self, datagram: bytes, source: Address, answer: Answer, *, known: bool
    ) -> Iterable[object]:
        """A datagram of this kind came; the effects that the answer led to. `known`: the source is a peer, at this very address:
        nobody else is answered, for an answer is many times as large as its question.
        """
        message = decode(datagram)
        if isinstance(message, Slice):
            collector, to, came = self._collecting.get(message.token, (None, None, None))
            if collector is not None and came is not None and to == source:
                collector.take(message, self._clock())
                came.set()
            return []
        if not known:
            raise RefusedError("a stranger asks for slices", Reason.OTHER)
        return await self._serve(message, source, answer)

    async def _serve(self, want: Want, source: Address, answer: Answer) -> Iterable[object]:
        effects: Iterable[object] = []
        reply = self._shelf.get(source, want.token, self._clock())
        if reply is None:
            reply, effects = answer(want.request, source)
            if not reply:
                return effects
            self._shelf.put(source, want.token, reply, self._clock())
        for datagram in slices_of(reply, want):
            await self._send(datagram, source)
        return effects

    def _remember(self, to: Address) -> None:
        self._needed.pop(to, None)
        self._needed[to] = None
        if len(self._needed) > REMEMBERED_MAX:
            del self._needed[next(iter(self._needed))]
