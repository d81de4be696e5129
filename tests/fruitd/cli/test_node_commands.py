"""The `fruit` command as people and scripts run it: a process of its own against a real socket."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import trio

from fruitd.api.server import listen, serve_api
from fruitd.cli.client import NodeClient
from fruitd.errors import UsageError
from tests.fruitd.api.fake_node import FakeNode

FRUIT = [sys.executable, "-c", "from fruitd.cli import main; main()"]


@contextmanager
def daemon(node: FakeNode, path: Path) -> Iterator[None]:
    """The model of a node behind a real server, in a thread of its own."""
    ready = threading.Event()
    stop: list[trio.lowlevel.TrioToken] = []
    scope = trio.CancelScope()

    async def main() -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(serve_api, node, path, 0o600)
                stop.append(trio.lowlevel.current_trio_token())
                ready.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        stop[0].run_sync_soon(scope.cancel)
        thread.join(10)


def fruit(
    *arguments: str, socket: Path | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    environ.pop("FRUIT_SOCKET", None)
    if socket is not None:
        environ["FRUIT_SOCKET"] = str(socket)
    return subprocess.run(
        [*FRUIT, *arguments],
        env=environ,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_an_operators_round(tmp_path: Path) -> None:
    """The commands an operator lives by would not work on a running node."""
    socket, node = tmp_path / "api.sock", FakeNode(in_b=2)
    node.offer(3, reused=400 * 2**20)
    node.refusals.append(
        {
            "what": "manifest",
            "why": "signed by 1 of 2",
            "source": "10.0.0.7:1",
            "count": 41,
            "first_s": 1,
            "last_s": 2,
        }
    )
    with daemon(node, socket):
        shown = fruit("status", socket=socket)
        assert shown.returncode == 0, shown.stderr
        assert "fetching  release 3 (2026.3)" in shown.stdout
        assert "400.0 MiB reused from disk" in shown.stdout
        assert "41 times, last manifest: signed by 1 of 2" in shown.stdout
        assert max(map(len, shown.stdout.splitlines())) <= 80
        nodes = fruit("nodes", "--socket", str(socket)).stdout.splitlines()
        assert nodes[1].startswith("fruit-03")
        assert "3 nodes: 2 run release 2, 1 another" in nodes
        assert nodes[-1].startswith("  hamburg-1: 24 members")
        assert "held: until Friday" in fruit("hold", "until Friday", socket=socket).stdout
        assert json.loads(fruit("resume", "--json", socket=socket).stdout)["update"]["held"] is None
        assert fruit("rollback", "no camera", socket=socket).returncode == 0
        listed = fruit("quarantine", "list", "--socket", str(socket)).stdout
        assert "no camera" in listed
        release = json.loads(fruit("quarantine", "list", "--json", "--socket", str(socket)).stdout)[
            "quarantined"
        ][0]["release"]
        lifted = fruit("quarantine", "lift", str(release), "a new camera", "--socket", str(socket))
        assert (lifted.returncode, f"release {release} may be tried again" in lifted.stdout) == (0, True), (
            lifted.stderr
        )
        again = fruit("quarantine", "lift", str(release), "--socket", str(socket))
        assert (again.returncode, again.stderr) == (
            1,
            f"fruit: release {release} is not quarantined on this node\n",
        )
        assert (
            fruit("quarantine", "list", "--socket", str(socket)).stdout
            == "nothing is quarantined on this node\n"
        )
        past = fruit("history", "-n", "3", socket=socket).stdout
        assert "rolled back" in past
        assert "fetching" not in past
        assert "no camera" in past
        assert fruit("doctor", socket=socket).returncode == 0


def test_every_reading_command_prints_the_answer_as_json(tmp_path: Path) -> None:
    """A script would get words, or half of what the node says."""
    socket, node = tmp_path / "api.sock", FakeNode()
    with daemon(node, socket):
        for command, answer in [
            ("status", node.status()),
            ("nodes", node.nodes()),
            ("history", node.history(50)),
            ("doctor", node.doctor()),
        ]:
            printed = fruit(command, "--json", socket=socket)
            assert json.loads(printed.stdout) == trio.run(lambda told=answer: told)


def test_doctor_says_what_to_do_and_fails(tmp_path: Path) -> None:
    """A monitoring script would take a lonely node for a healthy one."""
    socket, node = tmp_path / "api.sock", FakeNode()
    node.peers = []
    with daemon(node, socket):
        for arguments in (["doctor"], ["doctor", "--json"]):
            told = fruit(*arguments, socket=socket)
            assert told.returncode == 1
            assert "check the cable, [swarm] contacts" in told.stdout


def test_refusals_and_wrong_usage(tmp_path: Path) -> None:
    """A script could not tell a refusal from a mistake in its own call."""
    socket = tmp_path / "api.sock"
    with daemon(FakeNode(), socket):
        refused = fruit("rollback", socket=socket)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == "fruit: slot b holds nothing that ever ran well; nothing to go back to\n"
        assert fruit("hold", "w" * 200, socket=socket).returncode == 2
    for wrong in (["histori"], ["history", "-n", "0"], ["status", "--jsn"]):
        assert fruit(*wrong).returncode == 2


def test_no_daemon(tmp_path: Path) -> None:
    """The first thing many people meet would be a traceback."""
    absent, dead = tmp_path / "none.sock", tmp_path / "dead.sock"
    listen(dead, 0o600).close()
    for command, path in (("status", dead), ("watch", absent), ("hold", absent)):
        told = fruit(command, "--socket", str(path))
        words = f"fruit: nothing listens on {path}; is fruitd running? try: systemctl status fruitd\n"
        assert (told.returncode, told.stdout, told.stderr) == (1, "", words)


AS_NOBODY = """
import os, sys
from pathlib import Path
from fruitd.cli.client import NodeClient
from fruitd.errors import RefusedError
client = NodeClient(Path(sys.argv[1]))
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    client.get("/v1/status")
except RefusedError as error:
    print(error)
"""


def test_a_socket_of_somebody_else(tmp_path: Path) -> None:
    """An ordinary user would be told that the daemon is down."""
    socket = tmp_path / "api.sock"
    with daemon(FakeNode(), socket):
        socket.chmod(0)
        told = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(socket)], capture_output=True, text=True, check=True
        )
    assert told.stdout == f"you may not use {socket}; try sudo, or join the group that may\n"


def test_publishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A maintainer's release would reach the node changed, or name an image the node cannot find."""
    socket, node, torrent = tmp_path / "api.sock", FakeNode(), b"d" + os.urandom(200_000)
    monkeypatch.chdir(tmp_path)
    with daemon(node, socket), closing(NodeClient(socket)) as client:
        assert client.publish(b"manifest", torrent, Path("rootfs.img"))["release"] == 2
        with pytest.raises(UsageError, match="not bencoding"):
            client.publish(b"manifest", b"x", Path("rootfs.img"))
    assert node.published == [(b"manifest", torrent, str(tmp_path / "rootfs.img"))]


def test_something_else_listens(tmp_path: Path) -> None:
    """A wrong --socket would end in a traceback."""
    path = tmp_path / "other.sock"
    listener = listen(path, 0o600)
    listener.listen()

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")

    thread = threading.Thread(target=answer)
    thread.start()
    told = fruit("status", socket=path)
    thread.join(10)
    listener.close()
    assert (told.returncode, told.stderr) == (
        1,
        f"fruit: what listens on {path} does not speak as fruitd does\n",
    )


def test_a_watch_in_a_pipe_tells_changes_only(tmp_path: Path) -> None:
    """A log of `fruit watch` would be a thousand equal lines."""
    socket, node = tmp_path / "api.sock", FakeNode()
    with daemon(node, socket), watching(["watch"], socket) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "idle: release 1 is the newest\n"
        node.offer(2, reused=0)
        assert (
            process.stdout.readline()
            == "fetching release 2 (2026.2): two peers hold it, one of them at this site\n"
        )
        node.receive(10**9)
        assert process.stdout.readline().startswith("idle: ")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_a_watch_survives_a_restart_of_the_node(tmp_path: Path) -> None:
    """An update restarts the node: whoever watches it would be thrown out at the moment that matters."""
    socket = tmp_path / "api.sock"
    with ExitStack() as stack:
        with daemon(FakeNode("before"), socket):
            process = stack.enter_context(watching(["watch", "--json"], socket))
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["node"]["name"] == "before"
        with daemon(FakeNode("after"), socket):
            names = (json.loads(line)["node"]["name"] for line in process.stdout)
            assert next(name for name in names if name != "before") == "after"


@contextmanager
def watching(arguments: list[str], socket: Path) -> Iterator[subprocess.Popen[str]]:
    environ = {**os.environ, "FRUIT_SOCKET": str(socket)}
    process = subprocess.Popen([*FRUIT, *arguments], env=environ, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def test_a_watch_on_a_terminal_is_live(tmp_path: Path) -> None:
    """The progress bar people look at would not be there, or not move."""
    socket, node = tmp_path / "api.sock", FakeNode()
    node.offer(2, reused=400 * 2**20)
    terminal, their_end = pty.openpty()
    environ = {**os.environ, "FRUIT_SOCKET": str(socket), "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    with daemon(node, socket):
        process = subprocess.Popen([*FRUIT, "watch"], env=environ, stdout=their_end, stderr=their_end)
        os.close(their_end)
        try:
            until(terminal, "71 %")
            node.receive(100 * 2**20)
            seen = until(terminal, "89 %")
            assert "own disk" in seen
            assert "this site" in seen
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait(10)
            os.close(terminal)


def until(terminal: int, words: str) -> str:
    """What the terminal shows up to these words and the rest of that moment; fails after ten seconds of silence."""
    seen = ""
    while words not in seen or "Ctrl-C" not in seen[seen.rfind(words) :]:
        assert select.select([terminal], [], [], 10)[0], f"{words!r} was never shown"
        seen += os.read(terminal, 65536).decode("utf-8", "replace")
    return seen
