"""What nodes say about power: their own heartbeat and supply, the bays of a stack, and a request to pause a heartbeat.

Three kinds of record, each signed by the identity key of the node that says it, and believed about as much as a status is:

``health``
    Key: the node's id. Its own heart, supply and wish to update.
``power``
    Key: id of the node that has the bus, then address of the board and number of the bay, a byte each.
``pause``
    Key: id of the node that has the bus. It asks another to pause its heartbeat, to see which bay falls silent.

Sequence: that node's time in milliseconds. Bodies are msgpack in one canonical encoding, so short that a record fits a datagram.
Numbers that are measured travel in thousandths; what no sensor measures travels as nothing, never as a guess.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypeVar

from attrs import field, frozen

from swarm.errors import Reason, RefusedError
from swarm.fields import NUMBER_MAX, cut, name, number, packed, raw, text, truth, unpacked
from swarm.news.record import SEQUENCE_MAX, Record
from swarm.signing import signed
from swarm.trust.keys import NODE_ID_BYTES, SecretKey, node_id_of, verifies

HEALTH_KIND = "health"
POWER_KIND = "power"
PAUSE_KIND = "pause"
SAID_KINDS = frozenset({HEALTH_KIND, POWER_KIND, PAUSE_KIND})
BODY_BYTES_MAX = 768
"""With key and signature the record fits one datagram."""
DOING_CHARS_MAX = 24
WHY_CHARS_MAX = 120
ADDRESS_MAX = 254
"""255 is the master of the bus."""
BAYS = 2
PAUSE_S_MAX = 90
"""A heartbeat is paused for no longer, whoever asks. More: a liar could make a board or its owner take a node for hung. Less: the
board's own limit (15 s at first) and two sweeps would not fit."""
WHY_BYTES_KEPT = 160
"""Two reasons in wide scripts still leave room for the figures."""
_FORMAT = 1
_NODE_ID_LENGTHS = (0, NODE_ID_BYTES)


@frozen(order=True)
class Place:
    """A bay: address of its board, and 0 or 1."""

    address: int
    bay: int

    def __str__(self) -> str:
        return f"{self.address}:{self.bay}"

    @property
    def mate(self) -> Place:
        """The other bay of the board."""
        return Place(self.address, 1 - self.bay)

    @property
    def as_bytes(self) -> bytes:
        """Two of them, as at the end of keys."""
        return bytes((self.address, self.bay))

    @classmethod
    def of(cls, address: Any, bay: Any) -> Place:
        """Checked; raises `RefusedError`."""
        return cls(number(address, "board", 0, ADDRESS_MAX), number(bay, "bay", 0, BAYS - 1))


class Beat(IntEnum):
    """What a node's own heart does."""

    NONE = 0
    """It drives no heartbeat line."""
    BEATING = 1
    SILENT = 2
    """Unhealthy, so that the board shall see it."""
    PAUSED = 3
    """For a moment, because the owner of the bus asked."""

    @property
    def word(self) -> str:
        """For people and JSON."""
        return self.name.lower()


class Worth(IntEnum):
    """How far a figure may be relied on; as `hw.readings.Quality`."""

    GOOD = 0
    STALE = 1
    OUT_OF_RANGE = 2
    NO_SENSOR = 3

    @property
    def word(self) -> str:
        """For people and JSON."""
        return self.name.lower().replace("_", " ")


@frozen
class Figure:
    """A measured value in thousandths, or nothing where there is no value."""

    milli: int | None = None
    worth: Worth = Worth.NO_SENSOR

    @property
    def value(self) -> float | None:
        """In volts, amperes or watts."""
        return None if self.milli is None else self.milli / 1000

    @property
    def good(self) -> float | None:
        """The value where it may be acted on."""
        return self.value if self.worth is Worth.GOOD else None

    @classmethod
    def decode(cls, pair: Any) -> Figure:
        """Raises `RefusedError`."""
        match pair:
            case [milli, worth]:
                value = None if milli is None else number(milli, "figure")
                return cls(value, Worth(number(worth, "worth of a figure", 0, max(Worth))))
        raise RefusedError("a figure is not [thousandths, worth]")


@frozen
class Supply:
    """What a machine tells of its own supply; None where it does not."""

    undervoltage: bool | None = None
    undervoltage_since_boot: bool | None = None
    throttled: bool | None = None
    throttled_since_boot: bool | None = None
    decicelsius: int | None = None
    """Its temperature, in tenths of a degree above -100 °C, so that it is never negative."""

    @property
    def celsius(self) -> float | None:
        """In degrees."""
        return None if self.decicelsius is None else self.decicelsius / 10 - 100

    def encode(self) -> list[Any]:
        """Fields."""
        flags = (self.undervoltage, self.undervoltage_since_boot, self.throttled, self.throttled_since_boot)
        return [*flags, self.decicelsius]

    @classmethod
    def decode(cls, fields: Any) -> Supply:
        """Raises `RefusedError`."""
        if not isinstance(fields, list) or len(fields) != 5:
            raise RefusedError("supply does not have its five fields")
        now, since_boot, throttled, throttled_since_boot, heat = fields
        flags = (now, since_boot, throttled, throttled_since_boot)
        if any(flag is not None and not isinstance(flag, bool) for flag in flags):
            raise RefusedError("supply has a flag that is neither true, false nor nothing")
        decicelsius = None if heat is None else number(heat, "temperature", 0, 5000)
        return cls(now, since_boot, throttled, throttled_since_boot, decicelsius)


@frozen
class NodeHealth:
    """A node's word about its own heart and supply."""

    at_s: int
    stack: str = ""
    """The stack that it sits in, or whose bus it has; "" for none."""
    place: Place | None = None
    """Where it sits, as far as it was told."""
    beat: Beat = Beat.NONE
    well: bool = True
    why: str = ""
    """Why it is not well."""
    supply: Supply = field(factory=Supply)
    wish: int = 0
    """Other than 0 while it wants to update: the number that a grant has to repeat."""
    writing: bool = False
    """It is about to write its boot environment, or writes it."""
    owns: bool = False
    """It has the bus of its stack."""

    def encode(self) -> bytes:
        """The body of the record."""
        place = [] if self.place is None else [self.place.address, self.place.bay]
        return packed(
            _FORMAT,
            [
                self.at_s, self.stack, place, int(self.beat), self.well, self.why, self.supply.encode(), self.wish,
                self.writing, self.owns,
            ],
        )  # fmt: skip

    @classmethod
    def decode(cls, body: bytes) -> NodeHealth:
        """Raises `RefusedError` on anything `encode` could not have written."""
        at_s, stack, place, beat, well, why, supply, wish, writing, owns = unpacked(
            body, "health", _FORMAT, 10, BODY_BYTES_MAX
        )
        if not isinstance(place, list) or len(place) not in (0, 2):
            raise RefusedError("health has a place that is not [board, bay]")
        made = cls(
            at_s=number(at_s, "time"),
            stack=name(stack, "stack", 0),
            place=Place.of(*place) if place else None,
            beat=Beat(number(beat, "heartbeat", 0, max(Beat))),
            well=truth(well, "well"),
            why=text(why, "why", WHY_CHARS_MAX),
            supply=Supply.decode(supply),
            wish=number(wish, "wish"),
            writing=truth(writing, "writing"),
            owns=truth(owns, "owns"),
        )
        return _canonical(made, body)


FIGURES = ("bay_v", "bay_a", "bay_w", "input_v", "input_a", "input_w")
"""Names of a bay's figures, in order; the last three are its board's."""
_NO_FIGURES = (Figure(),) * len(FIGURES)


@frozen
class BayPower:
    """What the node that has the bus says of one bay."""

    at_s: int
    stack: str
    place: Place
    present: bool = True
    """The board answers."""
    powered: bool | None = None
    heartbeat: bool | None = None
    """None: it could not be read in a way that may be acted on."""
    silent_s: int = 0
    """For how long the heartbeat has been lost."""
    figures: tuple[Figure, ...] = _NO_FIGURES
    node_id: bytes = b""
    """Who sits there; empty where that is not known."""
    known_by: str = ""
    """"configured", "learned" or "claimed"; why it is not known, or in doubt."""
    doing: str = ""
    why: str = ""
    supply_why: str = ""
    """What is wrong with the supply; "" where nothing is known to be."""
    turn: int = 0
    """The wish of its node that is granted: it may update."""
    done: int = 0
    """Sequence of the last operator's command that was acted on, or refused."""
    energy_j: int = 0
    """Drawn by the bay since the owner has counted."""
    update_j: int = 0
    """Drawn during its node's last update; 0 where none was seen whole."""
    update_s: int = 0

    @property
    def key(self) -> bytes:
        """The end of the record's key, behind the owner's id."""
        return self.place.as_bytes

    def figure(self, name: str) -> Figure:
        """One of `FIGURES`."""
        return self.figures[FIGURES.index(name)]

    def encode(self) -> bytes:
        """The body of the record."""
        return packed(
            _FORMAT,
            [
                self.at_s, self.stack, self.place.address, self.place.bay, self.present, self.powered, self.heartbeat,
                self.silent_s, [[f.milli, int(f.worth)] for f in self.figures], self.node_id, self.known_by, self.doing,
                self.why, self.supply_why, self.turn, self.done, self.energy_j, self.update_j, self.update_s,
            ],
        )  # fmt: skip

    @classmethod
    def decode(cls, body: bytes) -> BayPower:
        """Raises `RefusedError` on anything `encode` could not have written."""
        fields = unpacked(body, "power", _FORMAT, 19, BODY_BYTES_MAX)
        at_s, stack, address, bay, present, powered, heartbeat, silent_s, figures, node_id, *rest = fields
        known_by, doing, why, supply_why, turn, done, energy_j, update_j, update_s = rest
        if not isinstance(figures, list) or len(figures) != len(FIGURES):
            raise RefusedError(f"power does not have {len(FIGURES)} figures")
        if any(state is not None and not isinstance(state, bool) for state in (powered, heartbeat)):
            raise RefusedError("power has a state that is neither true, false nor nothing")
        made = cls(
            at_s=number(at_s, "time"),
            stack=name(stack, "stack"),
            place=Place.of(address, bay),
            present=truth(present, "present"),
            powered=powered,
            heartbeat=heartbeat,
            silent_s=number(silent_s, "silence"),
            figures=tuple(map(Figure.decode, figures)),
            node_id=raw(node_id, "node", *_NODE_ID_LENGTHS),
            known_by=text(known_by, "how the node is known", DOING_CHARS_MAX),
            doing=text(doing, "doing", DOING_CHARS_MAX),
            why=text(why, "why", WHY_CHARS_MAX),
            supply_why=text(supply_why, "supply", WHY_CHARS_MAX),
            turn=number(turn, "turn"),
            done=number(done, "command"),
            energy_j=number(energy_j, "energy"),
            update_j=number(update_j, "energy of the update"),
            update_s=number(update_s, "time of the update"),
        )
        return _canonical(made, body)


@frozen
class PauseAsked:
    """The node that has the bus asks another to pause its heartbeat."""

    at_s: int
    stack: str
    node_id: bytes
    for_s: int

    def encode(self) -> bytes:
        """The body of the record."""
        return packed(_FORMAT, [self.at_s, self.stack, self.node_id, self.for_s])

    @classmethod
    def decode(cls, body: bytes) -> PauseAsked:
        """Raises `RefusedError` on anything `encode` could not have written."""
        at_s, stack, node_id, for_s = unpacked(body, "pause", _FORMAT, 4, BODY_BYTES_MAX)
        made = cls(
            number(at_s, "time"),
            name(stack, "stack"),
            raw(node_id, "node", NODE_ID_BYTES),
            number(for_s, "pause", 1, PAUSE_S_MAX),
        )
        return _canonical(made, body)


Said = NodeHealth | BayPower | PauseAsked
S = TypeVar("S", NodeHealth, BayPower, PauseAsked)
_KINDS: dict[type, str] = {NodeHealth: HEALTH_KIND, BayPower: POWER_KIND, PauseAsked: PAUSE_KIND}
_CLASSES: dict[str, type[NodeHealth] | type[BayPower] | type[PauseAsked]] = {
    HEALTH_KIND: NodeHealth, POWER_KIND: BayPower, PAUSE_KIND: PauseAsked,
}  # fmt: skip


def said_record(said: Said, identity: SecretKey, now_s: float, after: int = 0) -> Record:
    """The signed record of this.

    Args:
        said: within its bounds; `fitting` cuts words.
        identity: the node's key.
        now_s: its time, seconds since 1970.
        after: sequence of what it said under that key before; the new one is higher even if the clock went back.
    """
    sequence = min(max(int(now_s * 1000), after + 1), SEQUENCE_MAX)
    return signed(
        Record(_KINDS[type(said)], key_of(said, identity.node_id), sequence, said.encode()), identity
    )


def key_of(said: Said, node_id: bytes) -> bytes:
    """Under which key this node says it."""
    return node_id + said.key if isinstance(said, BayPower) else node_id


def kind_of(said: Said) -> str:
    """Of the record that carries it."""
    return _KINDS[type(said)]


def check_said(record: Record) -> Said:
    """What is said in a record that its own node signed, or `RefusedError`."""
    body = _CLASSES.get(record.kind)
    if body is None:
        raise RefusedError(f"record of kind {record.kind!r:.40} says nothing of power", Reason.WRONG_KIND)
    if len(record.signatures) != 1:
        raise RefusedError(
            f"{record.kind} has {len(record.signatures)} signatures, it needs exactly one", Reason.NOT_SIGNED
        )
    signature = record.signatures[0]
    if node_id_of(signature.public_key) != record.key[:NODE_ID_BYTES]:
        raise RefusedError(f"{record.kind} is signed by another node than its key names", Reason.WRONG_NODE)
    said = body.decode(record.body)
    if key_of(said, record.key[:NODE_ID_BYTES]) != record.key:
        raise RefusedError(f"{record.kind} travels under another key than its own", Reason.DISAGREES)
    if not verifies(signature.public_key, record.signed_bytes, signature.signature):
        raise RefusedError(f"{record.kind} has a signature that does not verify", Reason.NOT_SIGNED)
    return said


def fitting(words: str) -> str:
    """A reason, cut to what fits."""
    words = cut(words, WHY_CHARS_MAX)
    while len(words.encode()) > WHY_BYTES_KEPT:
        words = cut(words, len(words) - 1)
    return words


def held(value: float) -> int:
    """A count within its range."""
    return min(max(int(value), 0), NUMBER_MAX)


def _canonical(made: S, body: bytes) -> S:
    if made.encode() != body:
        raise RefusedError(f"{_KINDS[type(made)]} is not in its one canonical encoding")
    return made
