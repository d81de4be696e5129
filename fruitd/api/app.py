"""The routes of the API: what may be asked, how large it may be, and what the answers mean.

Reading: GET /v1/status, /v1/nodes, /v1/members, /v1/stack, /v1/stack/history?hours=&bay=&points=, /v1/history?limit=,
/v1/doctor, /v1/records?kind=, /v1/watch (one status a line). Acting: POST /v1/hold, /v1/resume, /v1/reload, /v1/rollback,
/v1/lift, /v1/publish, /v1/stack/map, each with a JSON object as its body; POST /v1/records with one encoded record.
An answer that is not 200 is {"error": one line for a person}. docs/api.md holds every schema.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fruitd.api.port import Json, NodeView
from fruitd.errors import FruitError, RefusedError, RetryError, UsageError
from fruitd.logs import get_logger
from swarm.power import ADDRESS_MAX, Place

BODY_BYTES_MAX = 16 * 1024 * 1024
"""A torrent file++ of 8 MiB and a manifest, as base64 in JSON. Larger: a request could eat the memory."""
COMMAND_BYTES_MAX = 16 * 1024
"""A request that acts and carries only a reason."""
RECORD_BYTES_MAX = 4096
"""One record, as it travels."""
KIND_CHARS_MAX = 16
BODY_TIMEOUT_S = 30.0
"""A client on the same machine that cannot send its request in this time never will."""
WHY_CHARS_MAX = 160
"""A reason fits the node's status record."""
PATH_CHARS_MAX = 4096
PARCELS_MAX = 8
"""As many as a manifest names of one release."""
NODES_ASKED_MAX = 32
"""Bays of a stack."""
HISTORY_LIMIT = 50
HISTORY_LIMIT_MAX = 2000
STACK_HOURS = 24
STACK_HOURS_MAX = 366 * 24
"""Further back than the history of a small stack goes."""
STACK_POINTS = 24
STACK_POINTS_MAX = 14 * 24 * 4
"""Two weeks of one bay, every quarter of an hour."""
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
        Route("/v1/members", node.members, methods=["GET"]),
        Route("/v1/stack", node.stack, methods=["GET"]),
        Route("/v1/stack/history", node.stack_history, methods=["GET"]),
        Route("/v1/stack/map", node.map_stack, methods=["POST"]),
        Route("/v1/history", node.history, methods=["GET"]),
        Route("/v1/doctor", node.doctor, methods=["GET"]),
        Route("/v1/watch", node.watch, methods=["GET"]),
        Route("/v1/hold", node.hold, methods=["POST"]),
        Route("/v1/resume", node.resume, methods=["POST"]),
        Route("/v1/reload", node.reload, methods=["POST"]),
        Route("/v1/rollback", node.rollback, methods=["POST"]),
        Route("/v1/lift", node.lift, methods=["POST"]),
        Route("/v1/publish", node.publish, methods=["POST"]),
        Route("/v1/records", node.records, methods=["GET"]),
        Route("/v1/records", node.take_record, methods=["POST"]),
    ]
    handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        FruitError: _refusal,
        HTTPException: _http_refusal,
        Exception: _bug,
    }
    return Starlette(routes=routes, exception_handlers=handlers, middleware=[Middleware(_Answering)])


class _ClientGoneError(OSError):
    """Nobody is left to answer: the client left, or the server gave it up for what it sent."""


class _Answering:
    """Tells a client that is gone from a fault of the node's own, which has streams too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            try:
                await send(message)
            except (trio.BusyResourceError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise _ClientGoneError(str(error)) from error

        await self._app(scope, receive, answer)


class _Routes:
    """One method for each route."""

    def __init__(self, view: NodeView) -> None:
        self._view = view

    async def status(self, _request: Request) -> Response:
        return _answer(await self._view.status())

    async def nodes(self, _request: Request) -> Response:
        return _answer(await self._view.nodes())

    async def members(self, _request: Request) -> Response:
        return _answer(await self._view.members())

    async def stack(self, _request: Request) -> Response:
        return _answer(await self._view.stack())

    async def stack_history(self, request: Request) -> Response:
        query = request.query_params
        hours = _whole(query.get("hours"), "hours", STACK_HOURS, STACK_HOURS_MAX)
        points = _whole(query.get("points"), "points", STACK_POINTS, STACK_POINTS_MAX)
        return _answer(await self._view.stack_history(hours, _place(query.get("bay")), points))

    async def map_stack(self, request: Request) -> Response:
        asked = await _object(request, COMMAND_BYTES_MAX, {"nodes"})
        return _answer(await self._view.map_stack(_node_ids(asked.get("nodes", []))))

    async def history(self, request: Request) -> Response:
        limit = _whole(request.query_params.get("limit"), "limit", HISTORY_LIMIT, HISTORY_LIMIT_MAX)
        return _answer(await self._view.history(limit))

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

    async def reload(self, request: Request) -> Response:
        await _object(request, COMMAND_BYTES_MAX, set())
        return _answer(await self._view.reload())

    async def rollback(self, request: Request) -> Response:
        asked = await _object(request, COMMAND_BYTES_MAX, {"why"})
        await self._view.rollback(_line(asked, "why", WHY_CHARS_MAX, "rolled back by the operator"))
        return _answer(await self._view.status())

    async def lift(self, request: Request) -> Response:
        asked = await _object(request, COMMAND_BYTES_MAX, {"release", "why"})
        release = asked.get("release")
        if type(release) is not int or not 0 <= release < 2**63:
            raise UsageError("release is not the number of a release")
        await self._view.lift(release, _line(asked, "why", WHY_CHARS_MAX, "lifted by the operator"))
        return _answer(await self._view.status())

    async def publish(self, request: Request) -> Response:
        asked = await _object(request, BODY_BYTES_MAX, {"manifest", "torrent", "image", "parcels"})
        image = _path(asked, "image")
        parcels = [(_bytes(parcel, "torrent"), _path(parcel, "path")) for parcel in _parcels(asked)]
        published = await self._view.publish(
            _bytes(asked, "manifest"), _bytes(asked, "torrent"), image, parcels
        )
        return _answer(published)

    async def records(self, request: Request) -> Response:
        kind = request.query_params.get("kind", "")
        if not 1 <= len(kind) <= KIND_CHARS_MAX:
            raise UsageError("say which records are wanted: kind=manifest, for example")
        return _answer(await self._view.records(kind))

    async def take_record(self, request: Request) -> Response:
        return _answer(await self._view.take_record(await _body(request, RECORD_BYTES_MAX)))


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
    if isinstance(error, _ClientGoneError | ClientDisconnect):
        return _answer({"error": "the client has left"}, 400)
    get_logger(room="api").error(
        "a request failed in a way it should not", path=request.url.path, exc_info=error
    )
    return _answer({"error": f"the node has a bug ({type(error).__name__}); its log says where"}, 500)


def _one_line(words: str) -> str:
    return " ".join(words.split())[:500]


def _whole(text: str | None, name: str, default: int, most: int) -> int:
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most:
        return int(text)
    raise UsageError(f"{name} is not a whole number from 1 to {most}")


def _place(text: str | None) -> Place | None:
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,3}):([01])", text)
    if found and int(found[1]) <= ADDRESS_MAX:
        return Place(int(found[1]), int(found[2]))
    raise UsageError("bay is not BOARD:BAY such as 3:1")


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


def _path(asked: Json, key: str) -> str:
    path = _line(asked, key, PATH_CHARS_MAX, None)
    if not path.startswith("/"):
        raise UsageError(f"{key} is not an absolute path on the node's machine")
    return path


def _parcels(asked: Json) -> list[Json]:
    rows = asked.get("parcels", [])
    known = {"torrent", "path"}
    fits = isinstance(rows, list) and len(rows) <= PARCELS_MAX
    if not fits or not all(isinstance(row, dict) and row.keys() == known for row in rows):
        raise UsageError(f'parcels is not a list of at most {PARCELS_MAX} of {{"torrent", "path"}}')
    return list(rows)


def _node_ids(value: Any) -> list[bytes]:
    fits = isinstance(value, list) and len(value) <= NODES_ASKED_MAX
    if fits and all(isinstance(each, str) and re.fullmatch(r"[0-9a-f]{40}", each) for each in value):
        return [bytes.fromhex(each) for each in value]
    raise UsageError(f"nodes is not a list of at most {NODES_ASKED_MAX} node ids of 40 hex digits")


def _bytes(asked: Json, key: str) -> bytes:
    value = asked.get(key)
    try:
        if isinstance(value, str) and value:
            return base64.b64decode(value, validate=True)
    except ValueError:
        pass
    raise UsageError(f"{key} is not a text in base64")
