"""The certificate at start: if it failed, a node with a token would not count, or one without would not start."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from fruitd.daemon.own_certificate import CERTIFICATE_FILE, load_certificate
from swarm.joining import OwnCertificate, TokenFile
from swarm.signing import signed
from tests.swarm.trust.ceremony import STRANGER, key
from tests.swarm.trust.fellowship import NOW_S, OPERATORS, closed_root, token_file

NODE = key("pi-17")
BATCH, OTHER = token_file("batch"), token_file("other")


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A card with a state directory and a token."""
    (tmp_path / "state").mkdir()
    put(tmp_path, BATCH)
    return tmp_path


def put(card: Path, file: TokenFile, mode: int = 0o600) -> None:
    (card / "token").write_bytes(file.encode())
    (card / "token").chmod(mode)


def load(card: Path, now_s: float = NOW_S) -> tuple[OwnCertificate | None, str]:
    return load_certificate(card / "state", card / "token", NODE, closed_root(), now_s)


def test_a_certificate_is_made_once_and_outlives_its_token(card: Path) -> None:
    """A node would join anew at every start, or be lost once its token was taken away."""
    first, trouble = load(card)
    assert (first is not None, trouble) == (True, "")
    assert load(card, NOW_S + 99) == (first, "")
    (card / "token").unlink()
    assert load(card) == (first, "")
    assert load_certificate(card / "state", None, NODE, closed_root(), NOW_S) == (first, "")


def test_another_token_makes_another_certificate_and_a_bad_one_leaves_the_old(card: Path) -> None:
    """A node could not be moved to another token, or would lose its membership over a slip."""
    first, _ = load(card)
    put(card, token_file("forged", STRANGER))
    held, trouble = load(card)
    assert (held, "has 0 valid signatures" in trouble) == (first, True)
    put(card, OTHER)
    second, trouble = load(card)
    assert trouble == ""
    assert first is not None
    assert second is not None
    assert second.token.name == "other"
    assert second.member.sequence > first.member.sequence


def test_terms_signed_anew_are_taken_and_the_certificate_stays(card: Path) -> None:
    """After a change of operators a node would go on showing terms that nobody believes."""
    first, _ = load(card)
    anew = attrs.evolve(BATCH, terms=signed(attrs.evolve(BATCH.terms, signatures=()), OPERATORS[1]))
    put(card, anew)
    second, _ = load(card)
    assert first is not None
    assert second is not None
    assert (second.member, second.terms) == (first.member, anew.terms)


def test_what_is_missing_is_said_and_stops_nothing(card: Path) -> None:
    """A node would not start, and get no updates, for want of a token; or keep silent about it."""
    put(card, BATCH, 0o644)
    assert "chmod 600" in load(card)[1]
    (card / "token").write_bytes(b"{}")
    (card / "token").chmod(0o600)
    held, trouble = load(card)
    assert (held, str(card / "token") in trouble) == (None, True)
    (card / "token").unlink()
    assert "there is no join token at" in load(card)[1]
    assert "name it in [node] token" in load_certificate(card / "state", None, NODE, closed_root(), NOW_S)[1]
    put(card, token_file("brief", expires_at_s=NOW_S - 1))
    assert "has expired; ask an operator" in load(card)[1]


def test_a_token_that_cannot_be_looked_for_is_said_and_stops_nothing(card: Path) -> None:
    """A folder on the card that the daemon may not enter would keep the node from starting."""
    held, _ = load(card)
    for token in (card / ("x" * 300), card / "token" / "beneath"):
        found, trouble = load_certificate(card / "state", token, NODE, closed_root(), NOW_S)
        assert found == held
        assert trouble == "" or str(token) in trouble
    nobody = load_certificate(card / "elsewhere", card / ("x" * 300), NODE, closed_root(), NOW_S)
    assert nobody[0] is None
    assert "cannot be read" in nobody[1]


def test_a_damaged_certificate_and_one_of_another_node_are_made_anew(card: Path) -> None:
    """A torn write, or a copied state directory with a new identity, would cost the node its membership."""
    for damage in (b"", b"\x93", load_other(card)):
        (card / "state" / CERTIFICATE_FILE).write_bytes(damage)
        held, trouble = load(card)
        assert trouble == ""
        assert held is not None
        assert held.member.key == NODE.node_id


def load_other(card: Path) -> bytes:
    """The certificate of another node."""
    own, _ = load_certificate(card / "state", card / "token", key("pi-18"), closed_root(), NOW_S)
    assert own is not None
    return own.encode()


def test_a_state_directory_that_cannot_be_written_is_said(card: Path) -> None:
    """A full disk would stop the daemon."""
    (card / "state" / f".{CERTIFICATE_FILE}.new").mkdir()
    held, trouble = load(card)
    assert (held, "cannot be kept" in trouble) == (None, True)
