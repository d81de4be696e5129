"""What a node tells of a stack with a bit of everything in it, as docs/api.md says."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def figure(value: float | None, quality: str = "good") -> Json:
    return {"value": value, "quality": quality}


NOTHING = figure(None, "no sensor")


def bay(place: str, name: str = "", **changes: Any) -> Json:
    made: Json = {
        "bay": place, "node": (name.encode().hex() * 20)[:40] or None, "name": name, "known_by": "claimed" if name else "",
        "powered": True, "heartbeat": True, "silent_s": 0, "bay_v": figure(5.04), "bay_a": figure(0.36), "bay_w": figure(1.81),
        "release": 12, "version": "2026.11", "state": "committed", "doing": "", "why": "", "supply": "", "turn": False,
        "command": 0, "energy_j": 91_234, "last_update_j": None, "last_update_s": None, "age_s": 3.2,
    }  # fmt: skip
    return {**made, **changes}


def board(address: int, *bays: Json, **changes: Any) -> Json:
    made = {
        "address": address,
        "present": True,
        "input_v": figure(11.94),
        "input_a": figure(0.41),
        "input_w": figure(4.87),
    }
    return {**made, "bays": list(bays), **changes}  # fmt: skip


def stack(*boards: Json, name: str = "rack-1", **changes: Any) -> Json:
    made = {"name": name, "owner": "0e" * 20, "owner_name": "fruit-02", "self": True, "boards": list(boards)}
    return {**made, **changes}


def answer(*stacks: Json, **changes: Any) -> Json:
    made: Json = {
        "schema": 1,
        "own": {"stack": "rack-1", "owns": True, "trouble": "", "held_back": None},
        "stacks": list(stacks),
        "events": [],
        "learning": None,
    }
    return {**made, **changes}


OFF = {"powered": False, "heartbeat": False, "bay_v": figure(0.0), "bay_a": figure(0.0), "bay_w": figure(0.0)}
UNREAD = dict.fromkeys(("bay_v", "bay_a", "bay_w"), NOTHING)
UNHEARD = {"powered": None, "heartbeat": None, "age_s": 7300.0, **UNREAD}
NOBODY = {"release": None, "version": None, "state": None}
HANGS = {
    "heartbeat": False, "silent_s": 184, "release": 13, "version": "2026.12", "state": "trial", "doing": "turning off",
    "why": "silent for 184 s, power cycle 1 of 3",
}  # fmt: skip
BOARDS = (
    board(
        0,
        bay("0:0", "fruit-02", last_update_j=412, last_update_s=95),
        bay("0:1", "fruit-03", state="fetching", turn=True),
    ),
    board(
        1,
        bay("1:0", "fruit-04", **HANGS),
        bay("1:1", "fruit-05", **OFF, doing="off", why="by olga: card is replaced"),
    ),
    board(
        2,
        bay("2:0", "fruit-06", bay_v=figure(4.41), supply="the bay gets 4.41 V, less than 4.63 V"),
        bay("2:1", **NOBODY),
        input_v=figure(6.02),
    ),
    board(
        3,
        bay("3:0", "fruit-08", **UNHEARD),
        bay("3:1", **UNHEARD, **NOBODY),
        present=False,
        input_v=figure(11.9, "stale"),
        input_a=NOTHING,
        input_w=NOTHING,
    ),
)
EVENTS = [
    {"at_s": 1_800_000_000, "why": "bay 1:0 (fruit-04): silent for 184 s, power cycle 1 of 3"},
    {"at_s": 1_800_000_060, "why": "off of bay 1:1 (fruit-05) by olga: card is replaced"},
]
RACK = answer(stack(*BOARDS), events=EVENTS)
