"""An operator's command to the power of one bay: the ``switch`` record. Pure codec and check.

Key: the stack's name, a zero byte, address of the board and number of the bay. Sequence: when it was said, milliseconds since
1970. Body: msgpack ``[1, swarm, stack, board, bay, node_id, action, why, expires_at_s]``. Signed by a threshold of the
``operator`` role.

What keeps it from being played again: a store holds the highest sequence of each bay only, the node that has the bus acts on each
once and says in its ``power`` record which was the last, and nobody acts on one that has expired. It names the node that the
operator means, so that a bay in which another sits by now is left alone.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from swarm.errors import Reason, RefusedError
from swarm.fields import name, number, packed, raw, text, unpacked
from swarm.news.record import SEQUENCE_MAX, Record
from swarm.power import WHY_CHARS_MAX, Place
from swarm.trust.keys import NODE_ID_BYTES
from swarm.trust.root import Role, TrustRoot
from swarm.trust.signed import SignedFact

SWITCH_KIND = "switch"
VALID_S_MAX = 86_400
"""No command is acted on later, whatever it says. Longer: a node that comes back would find power switched by what nobody wants
any more. Shorter: operators who have to sign one after the other do not get it done."""
_FORMAT = 1


class Action(StrEnum):
    """What may be done to a bay."""

    ON = "on"
    OFF = "off"
    CYCLE = "cycle"


@frozen
class SwitchCommand:
    """What an operator wants."""

    swarm: str
    stack: str
    place: Place
    node_id: bytes
    """Who is meant; empty: whoever sits there."""
    action: Action
    why: str
    expires_at_s: int

    @property
    def key(self) -> bytes:
        """Of its record."""
        return self.stack.encode() + b"\0" + self.place.as_bytes

    def encode(self) -> bytes:
        """The body of the record."""
        place = self.place
        fields = [self.swarm, self.stack, place.address, place.bay, self.node_id, str(self.action), self.why]
        return packed(_FORMAT, [*fields, self.expires_at_s])

    @classmethod
    def decode(cls, body: bytes) -> SwitchCommand:
        """Raises `RefusedError` on anything `encode` could not have written. No signature is checked."""
        fields = unpacked(body, "switch", _FORMAT, 8, 1024)
        swarm, stack, address, bay, node_id, action, why, expires_at_s = fields
        if not isinstance(action, str) or action not in set(Action):
            raise RefusedError("switch has an action that is neither on, off nor cycle")
        made = cls(
            text(swarm, "swarm", 64, 1),
            name(stack, "stack"),
            Place.of(address, bay),
            raw(node_id, "node", 0, NODE_ID_BYTES),
            Action(action),
            text(why, "why", WHY_CHARS_MAX),
            number(expires_at_s, "expiry", 1),
        )
        if made.encode() != body:
            raise RefusedError("switch is not in its one canonical encoding")
        return made

    def record(self, said_at_s: float, after: int = 0) -> Record:
        """Unsigned; `after`: sequence of the command before."""
        sequence = min(max(int(said_at_s * 1000), after + 1), SEQUENCE_MAX)
        return Record(SWITCH_KIND, self.key, sequence, self.encode())


def check_switch(root: TrustRoot, fact: SignedFact) -> SwitchCommand:
    """The command in a ``switch`` record that enough operators signed, or `RefusedError`."""
    if fact.kind != SWITCH_KIND:
        raise RefusedError(
            f"record is of kind {fact.kind!r:.40}, not of kind {SWITCH_KIND!r}", Reason.WRONG_KIND
        )
    root.check_threshold(Role.OPERATOR, fact)
    command = SwitchCommand.decode(fact.body)
    if command.swarm != root.swarm:
        raise RefusedError(
            f"switch is for swarm {command.swarm!r}, this is {root.swarm!r}", Reason.WRONG_SWARM
        )
    if fact.key != command.key:
        raise RefusedError("switch travels under another bay's key", Reason.DISAGREES)
    if not 0 < command.expires_at_s - fact.sequence // 1000 <= VALID_S_MAX:
        raise RefusedError(f"switch is not valid for 1 to {VALID_S_MAX} s", Reason.DISAGREES)
    return command
