"""A stack without hardware for the tests of the owner: bays as a sweep would find them, and fellows as nodes would tell."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from fruitd.power.document import PowerDocument
from fruitd.power.effects import KeepPower, PowerEffect, Say, Step, SwitchBay, Tell
from fruitd.power.energy import Account
from fruitd.power.fellow import Fellow
from fruitd.power.owner import StackOwner
from fruitd.power.seen import BaySeen
from fruitd.power.settings import PowerSettings, RecoveryLimits
from swarm.power import FIGURES, BayPower, Beat, Figure, NodeHealth, Place, Worth
from swarm.switching import Action, SwitchCommand

LIMITS = RecoveryLimits(silent_s=60, tries_max=2, cool_down_s=100, boot_s=60, off_s=5, off_wait_s=30)
WALL_S = 1_800_000_000.0
STACK = "rack"
ME = b"m" * 20
A, B, C = b"a" * 20, b"b" * 20, b"c" * 20
PLACES = {A: Place(0, 0), B: Place(0, 1), C: Place(1, 0)}


def figures(bay_v: float = 5.05, bay_w: float = 2.0, input_v: float = 12.0) -> tuple[Figure, ...]:
    values = {
        "bay_v": bay_v,
        "bay_a": bay_w / bay_v,
        "bay_w": bay_w,
        "input_v": input_v,
        "input_a": 0.5,
        "input_w": 6.0,
    }
    return tuple(Figure(round(1000 * values[name]), Worth.GOOD) for name in FIGURES)


class Rig:
    """An owner beside the stack, with A and B on board 0 and C on board 1, all of them telling where they sit."""

    def __init__(
        self,
        document: PowerDocument | None = None,
        accounts: dict[bytes, Account] | None = None,
        **settings: Any,
    ) -> None:
        self.settings = PowerSettings(stack=STACK, has_port=True, **{"recovery": LIMITS, **settings})
        self.now_s = 1000.0
        self.accounts = {} if accounts is None else accounts
        self.owner = StackOwner(self.settings, ME, document or PowerDocument(), self.now_s, self.accounts)
        self.bays = {place: BaySeen(place, True, True, True, figures()) for place in PLACES.values()}
        self.fellows = {
            node_id: Fellow(name, 1.0, NodeHealth(0, STACK, PLACES[node_id], Beat.BEATING))
            for node_id, name in ((A, "ada"), (B, "bob"), (C, "cat"))
        }
        self.kept: list[bytes] = []
        self.switched: list[tuple[Place, Step]] = []
        self.notes: list[str] = []

    @property
    def wall_s(self) -> float:
        return WALL_S + self.now_s

    def bay(self, place: Place, **seen: Any) -> None:
        self.bays[place] = evolve(self.bays[place], **seen)

    def health(self, node_id: bytes, **said: Any) -> None:
        fellow = self.fellows[node_id]
        assert fellow.health is not None
        self.fellows[node_id] = evolve(fellow, health=evolve(fellow.health, **said), health_age_s=0.0)

    def hang(self, node_id: bytes) -> None:
        """It says nothing any more, and its heart stops."""
        self.bay(PLACES[node_id], heartbeat=False)
        self.fellows[node_id] = evolve(self.fellows[node_id], heard_s_ago=self.now_s)

    def revive(self, node_id: bytes) -> None:
        self.bay(PLACES[node_id], heartbeat=True)
        self.fellows[node_id] = evolve(self.fellows[node_id], heard_s_ago=0.0)

    def sweep(self, passed_s: float = 10.0) -> list[PowerEffect]:
        """Time passes, and a sweep ends; what it switches is done at once."""
        self.now_s += passed_s
        effects = self.owner.swept(self.bays.values(), self.fellows, self.now_s, self.wall_s)
        for effect in effects:
            match effect:
                case SwitchBay(place, step):
                    self.switched.append((place, step))
                    self.bay(place, powered=step is Step.ON, heartbeat=step is Step.ON)
                case KeepPower(document):
                    self.kept.append(document)
                case Tell(why=why):
                    self.notes.append(why)
        return effects

    def sweep_until(self, step: Step, at_most: int = 60) -> Place:
        """Sweep until something is switched so; which bay it was."""
        for _ in range(at_most):
            before = len(self.switched)
            self.sweep()
            for place, done in self.switched[before:]:
                if done is step:
                    return place
        raise AssertionError(f"nothing was switched {step}")

    def command(self, action: Action, place: Place, sequence: int = 1, **changes: Any) -> None:
        command = SwitchCommand("fruits", STACK, place, b"", action, "because", int(self.wall_s) + 600)
        self.owner.commanded(evolve(command, **changes), sequence, "olga")

    def said(self, effects: list[PowerEffect], place: Place) -> BayPower:
        """What was said of a bay."""
        found = [
            e.said
            for e in effects
            if isinstance(e, Say) and isinstance(e.said, BayPower) and e.said.place == place
        ]
        return found[-1]

    def shown(self, place: Place) -> BayPower:
        return next(power for power in self.owner.bays(self.now_s) if power.place == place)
