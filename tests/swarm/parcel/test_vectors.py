"""The published parcels: if they were read otherwise here, another implementation could not be built from the specification."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swarm.errors import RefusedError
from swarm.parcel.recipe import Origin, Step
from tests.swarm.parcel.makers import decoded, opened, root

VECTORS = Path(__file__).parents[2] / "vectors" / "parcel"
IMAGE, OLDER = ((VECTORS / f"{name}.bin").read_bytes() for name in ("image", "older"))


def more(step: Step) -> list[int]:
    """What a step of its kind says beside its length."""
    return {Origin.COPY: [step.source], Origin.PACKED: [step.text_bytes, step.level]}.get(step.origin, [])


@pytest.mark.parametrize(("name", "older"), [("from-older", OLDER), ("from-nothing", b"")])
def test_a_published_parcel_says_what_is_written_beside_it_and_makes_the_image(
    name: str, older: bytes
) -> None:
    """Parcels that were built by an older fruit could not be opened any more."""
    raw = (VECTORS / f"{name}.parcel").read_bytes()
    told, parcel = json.loads((VECTORS / f"{name}.json").read_text()), decoded(raw)
    assert (told["image_root"], told["image_bytes"]) == (root(IMAGE).hex(), len(IMAGE))
    assert (told["image_root"], told["image_bytes"]) == (parcel.image_root.hex(), parcel.image_bytes)
    assert (told["from_root"], told["from_bytes"]) == (parcel.from_root.hex(), parcel.from_bytes)
    for row, segment in zip(told["segments"], parcel.segments, strict=True):
        recipe = parcel.recipe(segment)
        assert row == {
            "runs": [[run.block, run.count] for run in segment.runs],
            "offset": segment.frame_offset,
            "check": segment.check.hex(),
            "frames": [
                {
                    "frame_bytes": frame.frame_bytes,
                    "fresh_bytes": frame.fresh_bytes,
                    "dictionary": [
                        [
                            part.source,
                            part.length_bytes,
                            *([part.packed_bytes, part.skipped_bytes] if part.packed_bytes else []),
                        ]
                        for part in frame.dictionary
                    ],
                }
                for frame in recipe.frames
            ],
            "steps": [[step.origin.name.lower(), step.length_bytes, *more(step)] for step in recipe.steps],
        }
    assert opened(raw, older) == IMAGE


BAD = sorted((VECTORS / "bad").iterdir())


@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_what_is_published_as_bad_is_refused(path: Path) -> None:
    """A rule of the specification would hold nowhere."""
    with pytest.raises(RefusedError):
        decoded(path.read_bytes())
