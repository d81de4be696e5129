"""Asks what takes long to be answered, in order and from a thread of its own, and keeps the answers until they are taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class Desk:
    """Questions are asked one after another; answers are taken, in the same order, by the thread that put them."""

    def __init__(self, name: str, ring: Callable[[], None]) -> None:
        """`ring` is called, from any thread, when there may be an answer to take."""
        self._thread = ThreadPoolExecutor(1, name)
        self._ring = ring
        self._asked: deque[tuple[Future[Any], Callable[[Any], None]]] = deque()

    def ask(self, question: Callable[[], Answer], take: Callable[[Answer], None]) -> None:
        """Put a question, after those before it; `take` will be called with the answer."""
        answer = self._thread.submit(question)
        self._asked.append((answer, take))
        answer.add_done_callback(lambda _: self._ring())

    def answered(self) -> list[Callable[[], None]]:
        """For each answer that is there, what takes it. What a question raised is raised there."""
        answers: list[Callable[[], None]] = []
        while self._asked and self._asked[0][0].done():
            answer, take = self._asked.popleft()
            answers.append(partial(_hand_over, answer, take))
        return answers

    def close(self) -> None:
        """Wait until every question is answered; nobody takes those answers any more."""
        self._thread.shutdown()


def _hand_over(answer: Future[Any], take: Callable[[Any], None]) -> None:
    take(answer.result())
