"""The API over a real Unix socket, before a model of a node."""

from __future__ import annotations

import base64
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio.testing

import fruitd.api.server
from fruitd.api.server import listen, serve_api
from fruitd.errors import RetryError, SlotError, UsageError
from swarm.news.record import Record, Signature
from swarm.power import Place
from tests.fruitd.api.fake_node import FakeNode


@asynccontextmanager
async def served(node: FakeNode, path: Path, mode: int = 0o600) -> AsyncIterator[httpx.AsyncClient]:
    """The node behind its socket, and a client of it. Everything that hangs fails after two minutes."""
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_api, node, path, mode)
            transport = httpx.AsyncHTTPTransport(uds=str(path))
            async with httpx.AsyncClient(transport=transport, base_url="http://fruitd", timeout=60) as client:
                yield client
            nursery.cancel_scope.cancel()


def run(test: Callable[[httpx.AsyncClient], Awaitable[None]], node: FakeNode, path: Path) -> None:
    async def main() -> None:
        async with served(node, path) as client:
            await test(client)

    trio.run(main)


def test_what_the_node_shows(tmp_path: Path) -> None:
    """An operator would see nothing of the node, or something else than it says."""
    node = FakeNode()

    async def test(client: httpx.AsyncClient) -> None:
        for path, answer in [
            ("/v1/status", await node.status()),
            ("/v1/nodes", await node.nodes()),
            ("/v1/doctor", await node.doctor()),
        ]:
            response = await client.get(path)
            assert response.status_code == 200
            assert response.headers["content-type"] == "application/json"
            assert response.json() == answer

    run(test, node, tmp_path / "api.sock")


def test_acting_changes_the_node(tmp_path: Path) -> None:
    """A hold or a rollback would be answered and not done."""
    node = FakeNode(in_b=2)

    async def test(client: httpx.AsyncClient) -> None:
        held = await client.post("/v1/hold", json={"why": "until Friday"})
        assert held.json()["update"]["held"] == "until Friday"
        assert (await client.post("/v1/resume")).json()["update"]["held"] is None
        back = await client.post("/v1/rollback", json={"why": "no camera"})
        assert back.json()["slots"]["active"] == "b"
        events = (await client.get("/v1/history", params={"limit": 1})).json()["events"]
        assert [event["what"] for event in events] == ["rolled back"]
        given_up = back.json()["quarantined"][0]["release"]
        lifted = await client.post("/v1/lift", json={"release": given_up, "why": "mended"})
        assert lifted.json()["quarantined"] == []

    run(test, node, tmp_path / "api.sock")


def test_the_history_of_a_stack_is_asked_for_as_meant(tmp_path: Path) -> None:
    """An hour would be asked for and a day shown, or another bay."""
    node = FakeNode()

    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.get("/v1/stack/history")
        assert answer.json() == await node.stack_history(24, None, 24)
        for query in ("hours=336&points=1344&bay=254:0", "hours=1&bay=003:1"):
            assert (await client.get(f"/v1/stack/history?{query}")).status_code == 200

    run(test, node, tmp_path / "api.sock")
    asked = [(24, None, 24), (24, None, 24), (336, Place(254, 0), 1344), (1, Place(3, 1), 24)]
    assert node.asked_history == asked


def test_publishing_carries_the_bytes_unchanged(tmp_path: Path) -> None:
    """A signed release would reach the node damaged, and no node would accept it."""
    node = FakeNode()
    torrent = b"d" + os.urandom(3_000_000)

    async def test(client: httpx.AsyncClient) -> None:
        body = {
            "manifest": base64.b64encode(b"m\0").decode(),
            "torrent": base64.b64encode(torrent).decode(),
            "image": "/srv/rootfs.img",
        }
        answer = await client.post("/v1/publish", json=body)
        assert answer.status_code == 200
        assert node.published == [(b"m\0", torrent, "/srv/rootfs.img")]

    run(test, node, tmp_path / "api.sock")


GOOD = {"manifest": "bQ==", "torrent": "ZA==", "image": "/i"}


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "words"),
    [
        ("GET", "/v1/statuses", None, 404, "the API has no GET /v1/statuses"),
        ("GET", "/v1/hold", None, 405, "the API has no GET /v1/hold"),
        ("POST", "/v1/status", None, 405, "the API has no POST /v1/status"),
        ("GET", "/v1/history?limit=0", None, 400, "limit is not a whole number from 1 to 2000"),
        ("GET", "/v1/history?limit=²", None, 400, "limit is not a whole number"),
        ("POST", "/v1/hold", b"{", 400, "the request is not JSON"),
        ("POST", "/v1/hold", b"[" * 5000, 400, "the request is not JSON"),
        ("POST", "/v1/hold", b"\xff", 400, "the request is not JSON"),
        ("POST", "/v1/hold", b"[]", 400, "the request is not a JSON object"),
        ("POST", "/v1/hold", b'{"reason": "x"}', 400, "unknown key 'reason'; allowed: why"),
        ("POST", "/v1/hold", b'{"why": 3}', 400, "why is not one line of 1 to 160 characters"),
        ("POST", "/v1/hold", b'{"why": "a\\nb"}', 400, "why is not one line"),
        ("POST", "/v1/hold", b" " * 20_000, 413, "the request is larger than 16384 bytes"),
        ("POST", "/v1/publish", b" " * (16 * 1024 * 1024 + 1), 413, "larger than 16777216 bytes"),
        ("POST", "/v1/publish", b"{}", 400, "image is not one line"),
        ("POST", "/v1/publish", GOOD | {"image": "rel.img"}, 400, "image is not an absolute path"),
        ("POST", "/v1/publish", GOOD | {"torrent": "Z?"}, 400, "torrent is not a text in base64"),
        ("POST", "/v1/publish", GOOD | {"manifest": ""}, 400, "manifest is not a text in base64"),
        ("POST", "/v1/publish", GOOD | {"torrent": "bQ=="}, 400, "the torrent is not bencoding"),
        ("GET", "/v1/stack/history?hours=0", None, 400, "hours is not a whole number from 1 to 8784"),
        ("GET", "/v1/stack/history?hours=8785", None, 400, "hours is not a whole number from 1 to 8784"),
        ("GET", "/v1/stack/history?hours=1.5", None, 400, "hours is not a whole number"),
        ("GET", "/v1/stack/history?points=1345", None, 400, "points is not a whole number from 1 to 1344"),
        ("GET", "/v1/stack/history?bay=3", None, 400, "bay is not BOARD:BAY such as 3:1"),
        ("GET", "/v1/stack/history?bay=255:0", None, 400, "bay is not BOARD:BAY"),
        ("GET", "/v1/stack/history?bay=3:2", None, 400, "bay is not BOARD:BAY"),
        ("GET", "/v1/stack/history?bay=%D9%A3:1", None, 400, "bay is not BOARD:BAY"),
        ("POST", "/v1/rollback", b"", 409, "nothing to go back to"),
        ("POST", "/v1/lift", b'{"release": 7}', 409, "release 7 is not quarantined"),
        ("POST", "/v1/lift", b'{"release": true}', 400, "release is not the number of a release"),
        ("POST", "/v1/lift", b"{}", 400, "release is not the number of a release"),
    ],
)
def test_refusals_are_one_line_of_json(
    tmp_path: Path, method: str, path: str, body: bytes | dict[str, str] | None, code: int, words: str
) -> None:
    """A wrong request would change the node, end it, or be refused without a reason."""
    node = FakeNode()
    content = json.dumps(body).encode() if isinstance(body, dict) else body

    async def test(client: httpx.AsyncClient) -> None:
        response = await client.request(method, path, content=content)
        assert (response.status_code, list(response.json())) == (code, ["error"])
        assert words in response.json()["error"]
        assert "\n" not in response.json()["error"]
        assert (await client.get("/v1/status")).json()["update"]["held"] is None

    run(test, node, tmp_path / "api.sock")
    assert node.published == []
    assert node.active == "a"


@pytest.mark.parametrize(
    ("error", "code"), [(RetryError("disk full"), 503), (SlotError("slot a is gone"), 500)]
)
def test_the_nodes_own_errors(tmp_path: Path, error: Exception, code: int) -> None:
    """A script could not tell what may be tried again from what somebody has to mend."""

    class Failing(FakeNode):
        async def resume(self) -> None:
            raise error

    async def test(client: httpx.AsyncClient) -> None:
        response = await client.post("/v1/resume")
        assert (response.status_code, response.json()) == (code, {"error": str(error)})

    run(test, Failing(), tmp_path / "api.sock")


def test_a_fault_of_ours_ends_one_request_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One bug in showing the status would end the daemon in the middle of an update, or leave no trace."""
    node = FakeNode()
    node.breaks = True

    async def test(client: httpx.AsyncClient) -> None:
        response = await client.get("/v1/status")
        assert response.status_code == 500
        assert response.json()["error"].startswith("the node has a bug (ZeroDivisionError)")
        node.breaks = False
        assert (await client.get("/v1/status")).status_code == 200

    run(test, node, tmp_path / "api.sock")
    assert "a fault of ours" in capsys.readouterr().err


def test_a_server_that_falls_over_a_client_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One `fruit watch` that is ended at the wrong moment would end the daemon."""
    serve, falls = fruitd.api.server.serve, [None, None]

    async def falling(*args: Any, task_status: Any, **options: Any) -> None:
        if falls:
            falls.pop()
            task_status.started([])
            raise ExceptionGroup(
                "of hypercorn", [ExceptionGroup("inner", [trio.BusyResourceError("sending")])]
            )
        await serve(*args, task_status=task_status, **options)

    async def test(client: httpx.AsyncClient) -> None:
        assert (await client.get("/v1/status")).status_code == 200

    monkeypatch.setattr(fruitd.api.server, "serve", falling)
    run(test, FakeNode(), tmp_path / "api.sock")
    assert not falls


def test_a_watch_shows_now_and_every_change(tmp_path: Path) -> None:
    """`fruit watch` would stand still while the node works, or flood the node with questions."""
    node = FakeNode()

    async def test(client: httpx.AsyncClient) -> None:
        async with client.stream("GET", "/v1/watch") as response:
            lines = response.aiter_lines()
            first = json.loads(await anext(lines))
            assert first["update"]["state"] == "idle"
            for amount in range(50):
                node.offer(2, reused=amount)
                node.changes.bump()
            second = json.loads(await anext(lines))
            assert second["update"]["progress"]["reused_bytes"] == 49
            third = json.loads(await anext(lines))
            assert third["update"]["state"] == "fetching"

    run(test, node, tmp_path / "api.sock")


def test_watchers_that_leave_are_forgotten(tmp_path: Path) -> None:
    """Each closed terminal would leave a task behind that asks for the status for ever."""

    async def look_and_leave(client: httpx.AsyncClient) -> None:
        async with client.stream("GET", "/v1/watch") as response:
            await anext(response.aiter_lines())

    async def test(client: httpx.AsyncClient) -> None:
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(5):
            await look_and_leave(client)
        while trio.lowlevel.current_statistics().tasks_living > before:  # bounded by the server's ten seconds
            await trio.testing.wait_all_tasks_blocked(0.02)

    run(test, FakeNode(), tmp_path / "api.sock")


def test_a_slow_client_is_no_burden(tmp_path: Path) -> None:
    """A client that sends half a request and waits would keep others from being answered."""
    node = FakeNode()
    path = tmp_path / "api.sock"

    async def test(client: httpx.AsyncClient) -> None:
        slow = await trio.open_unix_socket(path)
        await slow.send_all(b"POST /v1/hold HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n{")
        garbage = await trio.open_unix_socket(path)
        await garbage.send_all(os.urandom(40_000))
        assert (await client.get("/v1/status")).status_code == 200
        await slow.aclose()
        await garbage.aclose()
        assert (await client.get("/v1/status")).json()["update"]["held"] is None

    run(test, node, path)


def test_the_socket_is_the_nodes_alone(tmp_path: Path) -> None:
    """Every user of the machine could command the node, or a dead socket would keep a node from starting."""
    path = tmp_path / "run" / "fruitd" / "api.sock"

    async def main() -> None:
        async with served(FakeNode(), path, 0o660):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            with pytest.raises(UsageError, match="in use; is another fruitd running"):
                listen(path, 0o600)
            assert path.exists()
        assert not path.exists()

    trio.run(main)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    trio.run(main)


def test_what_stands_in_the_sockets_place_is_left_alone(tmp_path: Path) -> None:
    """A slip in the configuration would delete a file."""
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(UsageError, match="is no socket; move it away"):
        listen(path, 0o600)
    assert path.read_text() == "data"
    with pytest.raises(UsageError, match="cannot be made: File exists"):
        listen(path / "api.sock", 0o600)


def test_a_successors_socket_is_not_removed(tmp_path: Path) -> None:
    """A daemon that ends late would take the socket of the one that follows it."""
    path = tmp_path / "api.sock"

    async def main() -> None:
        async with served(FakeNode(), path):
            path.unlink()
            path.write_text("the next one's")
        assert path.read_text() == "the next one's"

    trio.run(main)


def test_records_are_shown_and_taken(tmp_path: Path) -> None:
    """Roots, freshness and revocations could not be handed to a node, nor what it holds be looked at."""
    node = FakeNode()
    record = Record("manifest", b"stable", 1, b"", (Signature(bytes(32), bytes(64)),)).encode()

    async def test(client: httpx.AsyncClient) -> None:
        first = await client.post("/v1/records", content=record)
        again = await client.post("/v1/records", content=record)
        assert [first.json()["outcome"], again.json()["outcome"]] == ["accepted", "known"]
        shown = (await client.get("/v1/records", params={"kind": "manifest"})).json()
        assert shown["records"][0]["record"] == record.hex()

    run(test, node, tmp_path / "api.sock")


def test_records_that_are_wrong_are_answered_in_words(tmp_path: Path) -> None:
    """Somebody could make the daemon hold as much as they like, or not learn why their record was not taken."""
    node = FakeNode()

    async def test(client: httpx.AsyncClient) -> None:
        too_long = await client.post("/v1/records", content=bytes(4097))
        forged = await client.post("/v1/records", content=Record("manifest", b"stable", 1, b"").encode())
        no_kind = await client.get("/v1/records")
        strange = await client.get("/v1/records", params={"kind": "cake"})
        answers = [too_long, forged, no_kind, strange]
        assert [answer.status_code for answer in answers] == [413, 409, 400, 400]
        assert all(answer.json()["error"] for answer in answers)

    run(test, node, tmp_path / "api.sock")
