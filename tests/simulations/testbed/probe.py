"""Run inside a namespace by the tests: sends or takes a datagram or a stream, and prints what it saw.

probe.py serve udp|tcp PORT READY-FILE COUNT     for each of COUNT: prints the sender's address, answers "yes"
probe.py ask udp|tcp LOCAL-PORT HOST PORT        prints "yes", or "no" where no answer comes in time
probe.py flood LOCAL-PORT HOST PORT COUNT        sends COUNT datagrams of 1,000 bytes
probe.py count PORT READY-FILE IDLE-S            prints how many datagrams came until none came for IDLE-S
"""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

AGAIN_S = 0.5


def main() -> None:
    """See above."""
    what, *rest = sys.argv[1:]
    {"serve": serve, "ask": ask, "flood": flood, "count": count}[what](*rest)


def opened(kind: str, port: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("0.0.0.0", int(port)))
    return made


def serve(kind: str, port: str, ready: str, times: str) -> None:
    with opened(kind, port) as server:
        if kind == "tcp":
            server.listen()
        Path(ready).touch()
        for _ in range(int(times)):
            if kind == "udp":
                _, source = server.recvfrom(100)
                server.sendto(b"yes", source)
            else:
                stream, source = server.accept()
                with stream:
                    stream.sendall(b"yes")
            print(f"{source[0]}:{source[1]}", flush=True)


def ask(kind: str, local_port: str, host: str, port: str, for_s: str) -> None:
    deadline_s = time.monotonic() + float(for_s)
    answer = b"no"
    while answer == b"no" and time.monotonic() < deadline_s:
        with opened(kind, local_port) as client:
            client.settimeout(min(AGAIN_S, float(for_s)) if kind == "udp" else float(for_s))
            try:
                client.connect((host, int(port)))
                if kind == "udp":
                    client.send(b"?")
                answer = client.recv(100)
            except OSError:
                time.sleep(0.05)  # refused, or lost while an address was being resolved: once more
    print(answer.decode(), flush=True)


def flood(local_port: str, host: str, port: str, times: str) -> None:
    with opened("udp", local_port) as client:
        for _ in range(int(times)):
            client.sendto(bytes(1000), (host, int(port)))
            time.sleep(0.002)  # below the line's rate: what is lost was meant to be


def count(port: str, ready: str, idle_s: str) -> None:
    with opened("udp", port) as server:
        Path(ready).touch()
        came = 0
        server.settimeout(30.0)
        while True:
            try:
                server.recvfrom(2000)
            except TimeoutError:
                break
            came += 1
            server.settimeout(float(idle_s))
        print(came, flush=True)


if __name__ == "__main__":
    main()
