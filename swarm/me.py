"""What a node says of itself, and what peers say of themselves: words that discovery, gossip and the wire
share."""

from __future__ import annotations

from attrs import frozen

NODE_ID_BYTES = 20
NAME_CHARS_MAX = 64
HOLDINGS_MAX = 16
"""Images one node tells others about. More lengthen every beacon by 10 bytes each; fewer hide what a node
could serve."""
HOLDING_BYTES = 8
"""Of an infohash: enough to tell images apart when looking for a source, the image itself is checked by its
full hash."""
DIGEST_BYTES = 16
ECHO_BYTES = 8


@frozen
class Me:
    """This node, as it introduces itself.

    `node_id` is the first 20 bytes of the SHA-256 of its identity key; `site` "" means: not told; ports 0 to
    65535, where a `transfer_port` of 0 means that it moves no images.
    """

    node_id: bytes
    name: str
    site: str
    control_port: int
    transfer_port: int


@frozen
class Hello:
    """One node's introduction: a beacon when multicast; a ping, a pong or an announcement when sent to one
    peer.

    `ping`, where not empty, asks for a hello that carries the same 8 bytes as `pong`: proof that the answer
    comes from where the question went.
    """

    me: Me
    digest: bytes
    """Of the sender's record store, 16 bytes: equal digests, equal news."""
    holdings: tuple[bytes, ...] = ()
    """First 8 bytes of the infohashes of images the sender serves, whole or in part."""
    near: bool = False
    """The sender hears the receiver's multicast: they share a LAN."""
    ping: bytes = b""
    pong: bytes = b""
    wide: bytes = bytes(DIGEST_BYTES)
    """As `digest`, over what leaves a site: nodes of different sites compare this one."""
    fetching: bytes = b""
    """First 8 bytes of the infohash of the image the sender wants and does not have whole; empty: none."""
    able: bool = True
    """The sender could speak to the outside for its site: no quota, battery or hour keeps it from it."""
