"""Pings under way: who was asked, under what echo, and who did not answer."""

from __future__ import annotations

from attrs import frozen

from swarm.address import Address

QUESTIONS_MAX = 1024
"""Pings remembered at once. A node sends a few in a second; beyond this the oldest count as lost."""


@frozen
class Question:
    """A ping to `address`. `node_id` is empty where nobody is known there yet."""

    address: Address
    node_id: bytes
    asked_s: float


class Questions:
    """Pings by their echo, oldest first."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._open: dict[bytes, Question] = {}
        self._lost: list[Question] = []

    def ask(self, echo: bytes, address: Address, node_id: bytes, now_s: float) -> None:
        """A ping with this echo is on its way."""
        self._open[echo] = Question(address, node_id, now_s)
        if len(self._open) > QUESTIONS_MAX:
            self._lost.append(self._open.pop(next(iter(self._open))))

    def answered(self, echo: bytes) -> Question | None:
        """The question a pong answers, if it was asked and nobody answered it yet."""
        return self._open.pop(echo, None)

    def unanswered(self, now_s: float) -> list[Question]:
        """Questions whose time is up; each is returned once."""
        lost, self._lost = self._lost, []
        for echo, question in list(self._open.items()):
            if question.asked_s + self._timeout_s > now_s:
                break
            lost.append(question)
            del self._open[echo]
        return lost

    @property
    def next_s(self) -> float:
        """When the oldest question's time is up."""
        if self._lost:
            return float("-inf")
        return next(iter(self._open.values())).asked_s + self._timeout_s if self._open else float("inf")
