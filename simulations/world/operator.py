"""Whoever switches bays of a stack by signed command, from any node: an operator, and somebody who is none.

An operator looks whether what was asked for has come true, and asks again until it has.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen
from nacl.signing import SigningKey

from simulations.world.maintainer import CALENDAR_S, SWARM, signed_record
from simulations.world.stack import STACK, WorldStack
from swarm.errors import RefusedError
from swarm.news.record import Record
from swarm.power import Place
from swarm.switching import Action, SwitchCommand

if TYPE_CHECKING:
    from simulations.world.host import Host
    from simulations.world.surroundings import Surroundings

VALID_S = 120
"""How long a command may be acted on, and how long the operator waits before a look at what came of it."""
LATE_S = 180.0
"""A node without a clock acts on a command so much later, and its board takes the power when its own delay is over."""
OFF_S = (10.0, 150.0)
"""An operator who switched a bay off switches it on again after this."""


@frozen(eq=False)
class _Wish:
    """What an operator wants of a bay."""

    node: int
    action: Action
    cycles: int
    """How often its bay had lost power before."""


class Operator:
    """Of one world's stack."""

    def __init__(
        self, world: Surroundings, hosts: Sequence[Host], stack: WorldStack, rng: random.Random
    ) -> None:
        self._world = world
        self._hosts = hosts
        self._stack = stack
        self._rng = rng
        self._wishes: dict[Place, _Wish] = {}
        self.done: list[Action] = []
        """What came true."""
        self.refused = 0
        """How often a node did not take a stranger's command."""

    def order_something(self, node: int) -> None:
        """Have this node's bay power-cycled, or switched off and, later, on again."""
        if self._rng.random() < 0.5:
            self.order(node, Action.CYCLE)
        else:
            self.order(node, Action.OFF)
            self._world.heap.after(self._rng.uniform(*OFF_S), self.order, node, Action.ON)

    def order(self, node: int, action: Action) -> None:
        """This is wanted from now on, and not what was wanted of that bay before."""
        wish = _Wish(node, action, self._stack.cycles.get(node, 0))
        self._wishes[self._stack.place_of(node)] = wish
        self._say(wish)

    def lacking(self) -> list[str]:
        """What has not come true, in words."""
        return [f"bay {place} was to be switched {wish.action}" for place, wish in self._wishes.items()]

    def _say(self, wish: _Wish) -> None:
        running = [host for host in self._hosts if host.core is not None]
        if running:
            host = self._rng.choice(running)
            stranger = SigningKey(self._world.dice.bytes_for("a key that is no operator's"))
            self._offer(host, self._signed(wish, stranger, "i may not"))
            record = self._signed(wish, self._world.maintainer.operator_key, "i may")
            self._world.checker.add_genuine(record)
            until_s = self._world.heap.now_s + VALID_S + LATE_S
            self._world.checker.bay_ordered(wish.node, wish.action, until_s)
            self._offer(host, record)
        self._world.heap.after(VALID_S, self._look, wish)

    def _look(self, wish: _Wish) -> None:
        place = self._stack.place_of(wish.node)
        if self._wishes.get(place) is not wish:
            return
        if self._came_true(wish):
            del self._wishes[place]
            self.done.append(wish.action)
        else:
            self._say(wish)

    def _came_true(self, wish: _Wish) -> bool:
        fed = self._hosts[wish.node].firmware.fed
        match wish.action:
            case Action.ON:
                return fed
            case Action.OFF:
                return not fed
            case Action.CYCLE:
                return fed and self._stack.cycles.get(wish.node, 0) > wish.cycles

    def _signed(self, wish: _Wish, key: SigningKey, why: str) -> Record:
        now_s = CALENDAR_S + self._world.heap.now_s
        place = self._stack.place_of(wish.node)
        command = SwitchCommand(SWARM, STACK, place, b"", wish.action, why, int(now_s) + VALID_S)
        return signed_record(command.record(now_s), [key])

    def _offer(self, host: Host, record: Record) -> None:
        if host.core is None:
            return
        try:
            _, effects = host.core.offer(record, host.steady_s())
        except RefusedError as error:
            self.refused += 1
            self._world.trace.note(self._world.heap.now_s, host.number, "refused", str(error))
        else:
            host.carry_out(effects)
