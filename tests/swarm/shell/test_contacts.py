"""Contacts as owners write them."""

from __future__ import annotations

import pytest
import trio

from swarm.address import Address
from swarm.errors import RefusedError
from swarm.shell.contacts import is_literal, look_up, split_contact


@pytest.mark.parametrize(
    ("text", "host", "port", "literal"),
    [
        ("pi.example.org:47101", "pi.example.org", 47101, False),
        ("192.0.2.7:1", "192.0.2.7", 1, True),
        ("[fd00::1]:65535", "fd00::1", 65535, True),
    ],
)
def test_contacts_are_read(text: str, host: str, port: int, literal: bool) -> None:
    """An owner's contact would be looked for in the wrong place."""
    assert split_contact(text) == (host, port)
    assert is_literal(text) is literal


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":1", "host:0", "host:65536", "host:1x", "fd00::1:5", "host:²"]
)
def test_mistakes_are_named(text: str) -> None:
    """A typing mistake would show as a node that stays alone."""
    with pytest.raises(RefusedError, match="contact"):
        split_contact(text)


def test_names_that_nobody_knows_are_no_error() -> None:
    """A name server that is down at boot would stop the node."""
    assert trio.run(look_up, "[fd00::1]:5") == [Address("fd00::1", 5)]
    assert trio.run(look_up, "127.0.0.1:5") == [Address("127.0.0.1", 5)]
    assert trio.run(look_up, "x" * 300 + ".invalid:5") == []
