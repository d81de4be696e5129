"""Asks the daemon on this machine, through its Unix socket."""

from __future__ import annotations

import base64
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from fruitd.errors import RefusedError, RetryError, UsageError

Json = dict[str, Any]
DEFAULT_SOCKET = Path("/run/fruitd/api.sock")
ANSWER_TIMEOUT_S = 30.0
"""A rollback saves its journal on a slow card before it answers; longer means the daemon hangs."""
PUBLISH_TIMEOUT_S = 900.0
"""Publishing reads the whole image once."""


class NodeClient:
    """One daemon. Every method raises `FruitError` with one line that says what to do."""

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path
        transport = httpx.HTTPTransport(uds=str(socket_path), verify=False, trust_env=False)
        self._http = httpx.Client(
            transport=transport, base_url="http://fruitd", timeout=ANSWER_TIMEOUT_S, trust_env=False
        )

    def get(self, path: str, **query: str | int) -> Json:
        """What the daemon shows at `path`."""
        return self._ask("GET", path, params=query)

    def post(self, path: str, body: Json, *, timeout_s: float = ANSWER_TIMEOUT_S) -> Json:
        """Ask the daemon to act."""
        return self._ask("POST", path, json=body, timeout=timeout_s)

    def publish(self, manifest: bytes, torrent: bytes, image: Path) -> Json:
        """Hand a signed release over; the daemon reads and seeds `image` where it lies."""
        body = {
            "manifest": base64.b64encode(manifest).decode("ascii"),
            "torrent": base64.b64encode(torrent).decode("ascii"),
            "image": str(image.absolute()),
        }
        return self.post("/v1/publish", body, timeout_s=PUBLISH_TIMEOUT_S)

    def offer(self, record: bytes) -> Json:
        """Hand one encoded record over; what it was to the node, see docs/api.md. `RefusedError` if it is not believed."""
        headers = {"content-type": "application/octet-stream"}
        return self._ask("POST", "/v1/records", content=record, headers=headers)

    def records(self, kind: str) -> list[Json]:
        """Every record of a kind that the node holds."""
        return list(self.get("/v1/records", kind=kind)["records"])

    def watch(self) -> Iterator[Json]:
        """One status after the other until the daemon ends; `RetryError` once it does."""
        try:
            with self._http.stream("GET", "/v1/watch") as response:
                if response.status_code != 200:
                    response.read()
                    self._refuse(response)
                for text in response.iter_lines():
                    yield self._json(text)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        raise RetryError("the daemon has ended")

    def close(self) -> None:
        """Give the connection back."""
        self._http.close()

    def _ask(self, method: str, path: str, **options: Any) -> Json:
        try:
            response = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if response.status_code != 200:
            self._refuse(response)
        return self._json(response.text)

    def _json(self, text: str) -> Json:
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise RefusedError(f"what listens on {self._path} does not speak as fruitd does")
        return answer

    def _refuse(self, response: httpx.Response) -> None:
        words = str(self._json(response.text).get("error", f"the daemon answered {response.status_code}"))
        raise UsageError(words) if response.status_code in (400, 404, 405, 413) else RefusedError(words)

    def _unreachable(self, error: httpx.HTTPError) -> RefusedError | RetryError:
        match _cause(error):
            case OSError(errno=errno.EACCES | errno.EPERM):
                return RefusedError(f"you may not use {self._path}; try sudo, or join the group that may")
            case OSError(errno=errno.ENOENT | errno.ECONNREFUSED | errno.ENOTDIR):
                return RefusedError(
                    f"nothing listens on {self._path}; is fruitd running? try: systemctl status fruitd"
                )
        if isinstance(error, httpx.TimeoutException):
            return RetryError(
                f"the daemon on {self._path} does not answer; see its log: journalctl -u fruitd"
            )
        return RetryError(f"the daemon on {self._path} went away before it had answered")


def _cause(error: BaseException) -> BaseException | None:
    """The system's own error beneath httpx' and httpcore's."""
    beneath: BaseException | None = error
    while beneath is not None and not isinstance(beneath, OSError):
        beneath = beneath.__cause__ or beneath.__context__
    return beneath
