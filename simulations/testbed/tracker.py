"""A BitTorrent tracker for the rivals: tells everybody of everybody, at the addresses their requests come from.

python -m simulations.testbed.tracker PORT READY-FILE
"""

from __future__ import annotations

import http.server
import ipaddress
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bep35 import bencode

AGAIN_S = 15
"""Pause until a client asks again; short, so that nobody waits long for peers that came later."""
PEERS_MAX = 200
_peers: dict[tuple[str, int], None] = {}


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query, encoding="latin-1")
        own = (self.client_address[0], int(query.get("port", ["0"])[0]))
        others = [peer for peer in _peers if peer != own][:PEERS_MAX]
        _peers[own] = None
        packed = b"".join(
            ipaddress.IPv4Address(host).packed + port.to_bytes(2, "big") for host, port in others
        )
        body = bencode.encode({b"interval": AGAIN_S, b"min interval": AGAIN_S, b"peers": packed})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the base class's
        return


def main() -> None:
    """Serve until killed."""
    server = http.server.ThreadingHTTPServer(("", int(sys.argv[1])), _Handler)
    Path(sys.argv[2]).touch()
    server.serve_forever()


if __name__ == "__main__":
    main()
