"""The routes of the API: what may be asked, how large it may be, and what the answers mean.

Reading: GET /v1/status, /v1/nodes, /v1/history?limit=, /v1/doctor, /v1/watch (one status a line).
Acting: POST /v1/hold, /v1/resume, /v1/rollback, /v1/publish, each with a JSON object as its body.
An answer that is not 200 is {"error": one line for a person}. docs/api.md holds every schema.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from fruitd.api.port import Json, NodeView
from fruitd.errors import FruitError, RefusedError, RetryError, UsageError
from fruitd.logs import get_logger

BODY_BYTES_MAX = 16 * 1024 * 1024
"""A torrent file++ of 8 MiB and a manifest, as base64 in JSON. Larger: a request could eat the memory."""
COMMAND_BYTES_MAX = 16 * 1024
"""A request that acts and carries only a reason."""
BODY_TIMEOUT_S = 30.0
"""A client on the same machine that cannot send its request in this time never will."""
WHY_CHARS_MAX = 160
"""A reason fits the node's status record."""
PATH_CHARS_MAX = 4096
HISTORY_LIMIT = 50
HISTORY_LIMIT_MAX = 2000
WATCH_PAUSE_S = 0.2
"""Least time between two lines of a watch: five a second look alive; more would only cost the node."""
WATCH_QUIET_S = 1.0
"""A line at least this often while somebody watches: rates and ages move without any change of state."""


def node_app(view: NodeView) -> Starlette:
    """The application that shows and commands this node."""
    node = _Routes(view)
    routes = [
        Route("/v1/status", node.status, methods=["GET"]),
        Route("/v1/nodes", node.nodes, methods=["GET"]),
        Route("/v1/history", node.history, methods=["GET"]),
        Route("/v1/doctor", node.doctor, methods=["GET"]),
        Route("/v1/watch", node.watch, methods=["GET"]),
        Route("/v1/hold", node.hold, methods=["POST"]),
        Route("/v1/resume", node.resume, methods=["POST"]),
        Route("/v1/rollback", node.rollback, methods=["POST"]),
        Route("/v1/publish", node.publish, methods=["POST"]),
    ]
    handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        FruitError: _refusal,
        HTTPException: _http_refusal,
        Exception: _bug,
    }
    return Starlette(routes=routes, exception_handlers=handlers)


class _Routes:
    """One method for each route."""

    def __init__(self, view: NodeView) -> None:
        self._view = view

    async def status(self, _request: Request) -> Response:
        return _answer(await self._view.status())

    async def nodes(self, _request: Request) -> Response:
        return _answer(await self._view.nodes())

    async def history(self, request: Request) -> Response:
        return _answer(await self._view.history(_limit(request.query_params.get("limit"))))

    async def doctor(self, _request: Request) -> Response:
        return _answer(await self._view.doctor())

    async def watch(self, request: Request) -> Response:
        return StreamingResponse(_status_lines(self._view), media_type="application/x-ndjson")

    async def hold(self, request: Request) -> Response:
        asked = await _object(request, COMMAND_BYTES_MAX, {"why"})
        await self._view.hold(_line(asked, "why", WHY_CHARS_MAX, "held by the operator"))
        return _answer(await self._view.status())

    async def resume(self, request: Request) -> Response:
        await _object(request, COMMAND_BYTES_MAX, set())
        await self._view.resume()
        return _answer(await self._view.status())

    async def rollback(self, request: Request) -> Response:
        asked = await _object(request, COMMAND_BYTES_MAX, {"why"})
        await self._view.rollback(_line(asked, "why", WHY_CHARS_MAX, "rolled back by the operator"))
        return _answer(await self._view.status())

    async def publish(self, request: Request) -> Response:
        asked = await _object(request, BODY_BYTES_MAX, {"manifest", "torrent", "image"})
        image = _line(asked, "image", PATH_CHARS_MAX, None)
        if not image.startswith("/"):
            raise UsageError("image is not an absolute path on the node's machine")
        return _answer(await self._view.publish(_bytes(asked, "manifest"), _bytes(asked, "torrent"), image))


async def _status_lines(view: NodeView) -> AsyncIterator[bytes]:
    """The status now, and again whenever it has changed, for as long as the client listens."""
    seen = 0
    while True:
        with trio.move_on_after(WATCH_QUIET_S):
            seen = await view.wait_change(seen)
        yield _json(await view.status()) + b"\n"
        await trio.sleep(WATCH_PAUSE_S)


def _json(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def _answer(value: Json, status_code: int = 200) -> Response:
    return Response(_json(value) + b"\n", status_code=status_code, media_type="application/json")


async def _refusal(_request: Request, error: FruitError) -> Response:
    match error:
        case UsageError():
            code = 400
        case RefusedError():
            code = 409
        case RetryError():
            code = 503
        case _:
            code = 500
    return _answer({"error": _one_line(str(error))}, code)


async def _http_refusal(request: Request, error: HTTPException) -> Response:
    unknown = error.status_code in (404, 405)
    words = f"the API has no {request.method} {request.url.path[:80]}" if unknown else error.detail
    return _answer({"error": _one_line(words)}, error.status_code)


async def _bug(request: Request, error: Exception) -> Response:
    """A fault of ours: the operator hears of it, the log has where it is, the node goes on."""
    get_logger(room="api").error(
        "a request failed in a way it should not", path=request.url.path, exc_info=error
    )
    return _answer({"error": f"the node has a bug ({type(error).__name__}); its log says where"}, 500)


def _one_line(words: str) -> str:
    return " ".join(words.split())[:500]


def _limit(text: str | None) -> int:
    if text is None:
        return HISTORY_LIMIT
    if text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= HISTORY_LIMIT_MAX:
        return int(text)
    raise UsageError(f"limit is not a whole number from 1 to {HISTORY_LIMIT_MAX}")


async def _object(request: Request, bytes_max: int, keys: set[str]) -> Json:
    """The JSON object in the body, none of whose keys is unknown; an empty body is an empty object."""
    data = await _body(request, bytes_max)
    try:
        value = json.loads(data) if data else {}
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the request is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError("the request is not a JSON object")
    unknown = sorted(value.keys() - keys)
    if unknown:
        allowed = ", ".join(sorted(keys)) or "none"
        raise UsageError(f"the request has an unknown key {unknown[0][:40]!r}; allowed: {allowed}")
    return value


async def _body(request: Request, bytes_max: int) -> bytes:
    """The whole body, never held beyond its bound."""
    parts = bytearray()
    try:
        with trio.fail_after(BODY_TIMEOUT_S):
            async for part in request.stream():
                parts += part
                if len(parts) > bytes_max:
                    raise HTTPException(413, f"the request is larger than {bytes_max} bytes")
    except trio.TooSlowError as error:
        raise HTTPException(408, f"the request did not arrive within {BODY_TIMEOUT_S:g} s") from error
    except ClientDisconnect as error:
        raise HTTPException(400, "the request ended before its end") from error
    return bytes(parts)


def _line(asked: Json, key: str, chars_max: int, default: str | None) -> str:
    value = asked.get(key, default)
    if isinstance(value, str) and 1 <= len(value) <= chars_max and value.isprintable():
        return value
    raise UsageError(f"{key} is not one line of 1 to {chars_max} characters")


def _bytes(asked: Json, key: str) -> bytes:
    value = asked.get(key)
    try:
        if isinstance(value, str) and value:
            return base64.b64decode(value, validate=True)
    except ValueError:
        pass
    raise UsageError(f"{key} is not a text in base64")
