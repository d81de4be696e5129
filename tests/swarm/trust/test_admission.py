"""Admission and status: if these failed, a node's store would take in what its owner did not sign."""

from __future__ import annotations

import attrs
import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.admission import Admission, check_status
from swarm.errors import RefusedError
from swarm.news.record import Record
from swarm.news.store import RecordStore, Standing
from swarm.signing import signed
from swarm.status import STATUS_BYTES_MAX, NodeStatus, QuarantinedRelease, status_record
from swarm.trust.trusted_set import TrustedSet
from tests.swarm.trust.ceremony import RELEASERS, STRANGER, key, manifest_record, trust_root

CORA, DAN, _ = RELEASERS
NODE = key("pi-17")
ADMISSION = Admission(TrustedSet(trust_root()))
STATUS = NodeStatus(
    at_s=1_800_000_000,
    name="pi-17",
    site="attic",
    release=2,
    version="2.0",
    infohash8=b"infohash",
    state="idle",
    why="up to date",
    quarantined=(QuarantinedRelease(3, b"badimage"),),
    uptime_s=60,
    software="0.1.0",
    hardware=("raspberrypi,4-model-b", "brcm,bcm2711"),
    slot_bytes=2**31,
)


def test_signed_manifests_and_statuses_enter_a_store_and_nothing_else_does():
    """If this failed, news would not spread, or anything would."""
    store = RecordStore(ADMISSION.verdict)
    assert store.offer(manifest_record(CORA, DAN)).standing is Standing.NEW
    assert store.offer(status_record(STATUS, NODE, 1.8e9)).standing is Standing.NEW
    with pytest.raises(RefusedError):
        store.offer(attrs.evolve(manifest_record(CORA), sequence=9))
    with pytest.raises(RefusedError, match="'cake'"):
        ADMISSION.verdict(Record("cake", b"", 1, b""))


def test_a_status_is_read_back_and_is_about_its_signer():
    """If this failed, an operator would be told nothing, or lies."""
    record = status_record(STATUS, NODE, 1_800_000_000.5)
    assert record.key == NODE.node_id
    assert record.sequence == 1_800_000_000_500
    assert check_status(record) == STATUS


def test_nobody_can_speak_for_another_node():
    """If this failed, one stolen Pi could make all others look healthy."""
    good = status_record(STATUS, NODE, 1.8e9)
    unsigned = attrs.evolve(good, signatures=())
    for forged, said in [
        (unsigned, "0 signatures"),
        (signed(good, STRANGER), "2 signatures"),
        (signed(unsigned, STRANGER), "another node"),
        (attrs.evolve(good, sequence=good.sequence + 1), "does not verify"),
        (attrs.evolve(good, kind="manifest"), "kind"),
        (signed(attrs.evolve(unsigned, body=b"\x00"), NODE), "format"),
    ]:
        with pytest.raises(RefusedError, match=said):
            check_status(forged)


def test_a_status_is_newer_than_the_last_even_if_the_clock_went_back():
    """If this failed, a node whose clock was corrected would be shown as it was before, for as long as it was wrong."""
    assert status_record(STATUS, NODE, 5.0, after=9_000_000).sequence == 9_000_001


@given(st.text(max_size=200), st.text(max_size=300), st.integers(-(2**70), 2**70), st.integers(0, 12))
@settings(deadline=None)
def test_whatever_a_node_has_to_say_fits_one_datagram(text, why, number, quarantines):
    """If this failed, a node with a long name or a long story would fall silent."""
    quarantined = tuple(QuarantinedRelease(number, b"badimage") for _ in range(quarantines))
    told = (number, text, text, number, text, b"", text, why, quarantined, number, text)
    status = NodeStatus(*told, hardware=(text,) * quarantines, slot_bytes=number)
    body = status.fitted().encode()
    assert len(body) <= STATUS_BYTES_MAX
    assert NodeStatus.decode(body) == status.fitted()
    assert status.fitted().fitted() == status.fitted()


def test_the_widest_words_still_leave_room_for_a_reason():
    """If this failed, nodes named in some scripts could not say why they wait."""
    wide, worst = "\U0001f34e" * 99, tuple(QuarantinedRelease(2**53 - 1, bytes(8)) for _ in range(8))
    status = NodeStatus(
        2**53 - 1, wide, wide, 2**53 - 1, wide, bytes(8), wide, wide * 9, worst, 2**53 - 1, wide,
        (wide,) * 4, 2**53 - 1,
    )  # fmt: skip
    fitted = status.fitted()
    assert len(fitted.why) >= 16
    assert len(status_record(fitted, NODE, 1.8e9).encode()) <= 1200


@pytest.mark.parametrize("at", range(1, 14))
def test_every_wrong_field_is_refused(at):
    """If this failed, a status could carry what no list can show."""
    for wrong in (None, -1, True, 1.5, "x" * 161, "a\0b", b"seven77", [1]):
        fields = msgpack.unpackb(STATUS.encode())
        fields[at] = wrong
        with pytest.raises(RefusedError):
            NodeStatus.decode(msgpack.packb(fields))


@pytest.mark.fuzz
@given(st.data())
@settings(max_examples=500, deadline=None)
def test_fuzz_only_refusals_escape(data):
    """If this failed, one node's status could stop all the others."""
    raw = bytearray(STATUS.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    for candidate in (bytes(raw), data.draw(st.binary(max_size=60)), bytes(STATUS_BYTES_MAX + 1)):
        try:
            status = NodeStatus.decode(candidate)
        except RefusedError:
            continue
        assert status.encode() == candidate
