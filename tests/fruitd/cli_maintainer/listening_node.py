"""Something that listens on a Unix socket and answers as fruitd does: what it holds, and what it was sent."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from swarm.news.record import Record

JSON = "application/json"


class ListeningNode:
    """What a test puts into a node, and what commands sent it."""

    def __init__(self) -> None:
        self.code, self.answer = 200, {"release": 1, "version": "1.0", "infohash": "ab" * 32}
        self.records: list[Record] = []
        self.disputed = False
        self.nodes: list[dict[str, Any]] = []
        self.requests: list[tuple[str, Any]] = []
        self.stack: Callable[[], dict[str, Any]] = dict

    def get(self, path: str, query: dict[str, list[str]]) -> dict[str, Any]:
        if path == "/v1/nodes":
            return {"schema": 1, "nodes": self.nodes}
        if path == "/v1/stack":
            return self.stack()
        kind = query["kind"][0]
        return {"schema": 1, "records": [self._row(r) for r in self.records if r.kind == kind]}

    def _row(self, record: Record) -> dict[str, Any]:
        return {
            "kind": record.kind,
            "key": record.key.hex(),
            "sequence": record.sequence,
            "content_hash": record.content_hash.hex(),
            "record": record.encode().hex(),
            "signed_by": [],
            "disputed": self.disputed,
        }


@contextmanager
def listening_node(path: Path) -> Iterator[ListeningNode]:
    """One on this socket, until the end of the block."""
    node = ListeningNode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            url = urlsplit(self.path)
            self._answer(200, node.get(url.path, parse_qs(url.query)))

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            in_json = self.headers["Content-Type"] == JSON
            node.requests.append((self.path, json.loads(body) if in_json else body))
            self._answer(node.code, node.answer)

        def _answer(self, code, answer):
            data = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", JSON)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def address_string(self):
            return "a Unix socket"

        def log_message(self, *_):
            pass

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield node
        finally:
            server.shutdown()
            thread.join()
