"""Journals of every shape, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from fruitd.updater.journal import Journal, Quarantine, SlotContent, State, Target

HEX = st.integers(0, 2**256 - 1).map(lambda n: f"{n:064x}")
TEXTS = st.text(max_size=60)
SECONDS = st.floats(-1e12, 1e12)
COUNTS = st.integers(0, 2**53 - 1)
TARGETS = st.builds(
    Target,
    resource=TEXTS,
    release=COUNTS,
    version=TEXTS,
    compatible=st.lists(TEXTS, max_size=3).map(tuple),
    length_bytes=COUNTS,
    infohash=HEX,
    torrent_sha256=HEX,
    torrent_bytes=COUNTS,
    signer=HEX,
)
CONTENTS = st.none() | st.builds(SlotContent, target=TARGETS, committed=st.booleans())
QUARANTINES = st.builds(
    Quarantine, infohash=HEX, release=COUNTS, version=TEXTS, why=TEXTS, at_s=SECONDS, attempts=COUNTS
)
JOURNALS = st.builds(
    Journal,
    state=st.sampled_from(State),
    why=TEXTS,
    since_s=SECONDS,
    target=st.none() | TARGETS,
    target_slot=st.sampled_from(["a", "b", None]),
    attempts=COUNTS,
    armed_boot_id=st.none() | TEXTS,
    retry_at_s=SECONDS,
    failures=COUNTS,
    slots=st.fixed_dictionaries({"a": CONTENTS, "b": CONTENTS}),
    quarantined=st.lists(QUARANTINES, max_size=4).map(tuple),
    highest_release=COUNTS,
    held_why=st.none() | TEXTS,
    disputed_why=st.none() | TEXTS,
    pending=st.none() | TARGETS,
    trial_passed=st.booleans(),
    starts=COUNTS,
    cut_off=COUNTS,
    rollback=st.booleans(),
    factory_slot=st.sampled_from(["a", "b", None]),
)
