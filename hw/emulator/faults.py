"""What goes wrong on a wire, as probabilities for each reply. Pure: chance comes from outside."""

from __future__ import annotations

from random import Random

from attrs import fields, frozen

from hw.errors import WrongRequestError


@frozen
class Faults:
    """Each is a probability, tried in this order; the first that strikes is the one."""

    silence: float = 0.0
    """No reply at all."""
    half_frame: float = 0.0
    """The reply stops in the middle."""
    wrong_crc: float = 0.0
    flipped_bits: float = 0.0
    """One to three bits of the reply."""
    garbled: float = 0.0
    """A run of bytes of the reply is replaced by others."""
    noise: float = 0.0
    """Random bytes before or after a reply that is right."""
    late: float = 0.0
    """The reply comes after whoever asked has stopped waiting."""
    late_s: float = 0.15

    def __attrs_post_init__(self) -> None:
        for fault in fields(Faults):
            value = getattr(self, fault.name)
            if not 0 <= value <= 1:
                raise WrongRequestError(f"{fault.name} is 0 to 1, not {value}")

    @classmethod
    def evenly(cls, probability: float) -> Faults:
        """All kinds alike, so many of the replies in all."""
        if not 0 <= probability <= 1:
            raise WrongRequestError(f"a probability is 0 to 1, not {probability}")
        kinds = [fault.name for fault in fields(cls) if fault.name != "late_s"]
        each = 1 - (1 - probability) ** (1 / len(kinds))
        return cls(**dict.fromkeys(kinds, each))

    def apply(self, reply: bytes, rng: Random) -> tuple[bytes, float]:
        """What is on the wire instead, and how much later."""
        if rng.random() < self.silence:
            return b"", 0.0
        if rng.random() < self.half_frame:
            return reply[: rng.randrange(1, len(reply))], 0.0
        if rng.random() < self.wrong_crc:
            return reply[:-1] + bytes([reply[-1] ^ rng.randrange(1, 256)]), 0.0
        if rng.random() < self.flipped_bits:
            return _flip(reply, rng), 0.0
        if rng.random() < self.garbled:
            return _garble(reply, rng), 0.0
        if rng.random() < self.noise:
            noise = rng.randbytes(rng.randrange(1, 9))
            return (noise + reply if rng.random() < 0.5 else reply + noise), 0.0
        if rng.random() < self.late:
            return reply, self.late_s
        return reply, 0.0


def _flip(reply: bytes, rng: Random) -> bytes:
    bits = int.from_bytes(reply, "big")
    for _ in range(rng.randrange(1, 4)):
        bits ^= 1 << rng.randrange(8 * len(reply))
    return bits.to_bytes(len(reply), "big")


def _garble(reply: bytes, rng: Random) -> bytes:
    start = rng.randrange(len(reply))
    size = rng.randrange(1, len(reply) - start + 1)
    return reply[:start] + rng.randbytes(size) + reply[start + size :]
