"""Lists of nodes and signature files come from elsewhere: if these failed, a damaged file would end in a traceback, or count."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fruitd.errors import RefusedError
from fruitd.maintainer.bundle import Plan
from fruitd.maintainer.fleet import NODES_FILE_BYTES_MAX, read_nodes
from fruitd.maintainer.signature_file import SIGNATURE_FILE_BYTES_MAX, SignatureFile

ROW: dict[str, Any] = {
    "id": "9b" * 20,
    "name": "fruit-03",
    "site": "berlin-2",
    "release": 3,
    "version": "2026.10",
    "state": "idle",
    "why": "",
    "heard_s_ago": 1.0,
    "quarantined": [2, {"release": 1, "version": "x"}],
    "self": False,
    "hardware": ["pi4"],
    "slot_bytes": 512,
    "member": None,
}
SIGNED = SignatureFile(
    about="rootfs release 4",
    signed_by="cora",
    public_key=b"k" * 32,
    content_hash=b"h" * 32,
    signature=b"s" * 64,
    torrent_signature=b"t" * 64,
)


def nodes_file(*rows: Any) -> bytes:
    return json.dumps({"schema": 1, "nodes": list(rows)}).encode()


def test_a_node_is_read_as_fruit_nodes_prints_it() -> None:
    """If this failed, no mistake could be found by what nodes are."""
    [node] = read_nodes(nodes_file(ROW))
    assert (node.name, node.hardware, node.slot_bytes) == ("fruit-03", frozenset({"pi4"}), 512)
    assert (node.release, node.version, node.quarantined) == (3, "2026.10", frozenset({1, 2}))


def test_what_a_node_does_not_say_is_not_known() -> None:
    """If this failed, an older node would look like one without hardware, or with slots of no size."""
    [node] = read_nodes(
        nodes_file({"id": "9b", "name": "", "release": None, "slot_bytes": 0, "hardware": []})
    )
    assert (node.name, node.hardware, node.slot_bytes, node.release) == ("9b", None, None, None)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"schema": 2, "nodes": []}',
        nodes_file(1),
        nodes_file(ROW | {"hardware": "pi4"}),
        nodes_file(ROW | {"slot_bytes": -1}),
        nodes_file(ROW | {"release": 1.5}),
        nodes_file(ROW | {"quarantined": 1}),
        b" " * (NODES_FILE_BYTES_MAX + 1),
    ],
)
def test_a_list_that_is_none_is_refused(data: bytes) -> None:
    """If this failed, a wrong file would pass as a fleet without nodes, and every check by it."""
    with pytest.raises(RefusedError, match="list of nodes"):
        read_nodes(data)


def test_a_damaged_plan_of_a_release_takes_no_more_memory_than_a_good_one() -> None:
    """A small `release.json` from somebody else would take gigabytes of the maintainer's machine before it is refused."""
    plan = {
        "type": "fruit-release", "schema": 1, "swarm": "s", "channel": "stable", "resource": "org.example/os", "release": 3,
        "version": "1.3", "compatible": ["pi"], "sequence": 7, "issued_at_s": 1, "image": "/i", "length_bytes": 1,
        "infohash": "ab" * 32, "image_kind": "ext4", "image_mtime_ns": 1, "anyway": "", "parcels": "x" * 10_000,
    }  # fmt: skip
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError, match="damaged"):
            Plan.decode(json.dumps(plan).encode())
        assert tracemalloc.get_traced_memory()[1] < 1024**2
    finally:
        tracemalloc.stop()


def test_a_signature_file_is_small_says_whose_it_is_and_is_read_back() -> None:
    """If this failed, a signature would be lost on its way back, or nobody would know whose it is."""
    encoded = SIGNED.encode()
    assert len(encoded) < 1024
    assert b'"signed_by": "cora"' in encoded
    assert SignatureFile.decode(encoded) == SIGNED


@pytest.mark.parametrize(
    "change",
    [
        {"type": "fruit-release"},
        {"version": 2},
        {"version": True},
        {"extra": 1},
        {"about": "a\x1b[2J"},
        {"about": "x" * 1025},
        {"signed_by": 1},
        {"public": "aa"},
        {"content_hash": "AB" * 32},
        {"signature": None},
        {"torrent_signature": "ab"},
    ],
)
def test_a_signature_file_that_we_could_not_have_written_is_refused(change: dict[str, Any]) -> None:
    """If this failed, a file could show one thing and mean another."""
    document = json.loads(SIGNED.encode()) | change
    with pytest.raises(RefusedError):
        SignatureFile.decode(json.dumps(document).encode())
    with pytest.raises(RefusedError, match="larger"):
        SignatureFile.decode(b" " * (SIGNATURE_FILE_BYTES_MAX + 1))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(ROW)), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.mark.fuzz
@given(
    st.binary(max_size=60),
    st.dictionaries(st.sampled_from([*ROW, *json.loads(SIGNED.encode())]), JSON_VALUES),
)
@settings(max_examples=500, deadline=None)
def test_fuzz_only_refusals_escape(raw: bytes, fields: dict[str, Any]) -> None:
    """If this failed, a damaged file would end in a traceback."""
    signed = json.loads(SIGNED.encode())
    spoilt = {name: value for name, value in fields.items() if name in signed}
    for decode, data in (
        (read_nodes, raw),
        (read_nodes, nodes_file(ROW | fields)),
        (SignatureFile.decode, raw),
        (SignatureFile.decode, json.dumps(signed | spoilt).encode()),
    ):
        try:
            decode(data)
        except RefusedError:
            continue
