"""Clients that are slow, silent, or gone: they hold nothing that others need."""

import socket
import struct
import threading
import time

from tests.hostile import wire
from tests.hostile.conftest import Trickle
from tests.hostile.server import Attacked
from tests.hostile.shapes import patient

MANY = 150


def _gone(s: socket.socket) -> None:
    """Closes with a reset, as a machine that loses its link does."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def test_slow_heads_and_bodies_hold_nobody_up(hub: Attacked) -> None:
    head = wire.head("POST", "Patient", [("Content-Type", wire.JSON), ("Content-Length", "1000")])
    sockets = [wire.connect(hub.port) for _ in range(MANY)]
    try:
        for i, s in enumerate(sockets):
            s.sendall((b"GET /fhir/Patient/an HTTP/1.1\r\nHost: a\r\nX-", head + b"{", b"")[i % 3])
        for _ in range(3):
            for s in sockets[::3]:
                s.sendall(b"a")
            for s in sockets[1::3]:
                s.sendall(b" ")
            began = time.monotonic()
            assert hub.get("Patient/an").status == 200
            assert time.monotonic() - began < 20
    finally:
        for s in sockets:
            s.close()


def test_a_head_that_never_ends_is_given_up(trickle: Trickle) -> None:
    """After half a minute, whatever trickles in."""
    trickle.join(trickle.PATIENCE + 5)
    assert 20 < trickle.took < 48


def test_clients_that_vanish_while_they_send(either: Attacked) -> None:
    body = patient(name=[{"family": "Vanished"}])
    for length, sent in [(len(body) + 1, body), (len(body) * 2, body), (50 << 20, b" " * (1 << 20)), (1000, b"")]:
        for path, kind in [
            ("Patient", wire.JSON),
            ("Binary", "application/octet-stream"),
            ("", wire.JSON),
            ("Patient", wire.XML),
            ("Patient/_search", "application/x-www-form-urlencoded"),
        ]:
            for reset in (False, True):
                s = wire.connect(either.port)
                s.sendall(wire.head("POST", path, [("Content-Type", kind), ("Content-Length", str(length))]) + sent)
                time.sleep(0.01)
                _gone(s) if reset else s.close()
                s = wire.connect(either.port)
                s.sendall(
                    wire.head("POST", path, [("Content-Type", kind), ("Transfer-Encoding", "chunked")]) + b"%x\r\n%b" % (length, sent)
                )
                time.sleep(0.01)
                _gone(s) if reset else s.close()
    assert either.get("Patient?family=Vanished&_summary=count").json()["total"] == 0


def test_clients_that_vanish_before_the_answer(either: Attacked) -> None:
    for path in ("Patient", "metadata", "Patient/an/$everything", "_history?_count=1000"):
        for _ in range(20):
            s = wire.connect(either.port)
            s.sendall(wire.head("GET", path))
            _gone(s)
    for _ in range(20):
        body = b'{"resourceType":"Basic","code":{"text":"x"}}'
        s = wire.connect(either.port)
        s.sendall(wire.head("POST", "Basic", [("Content-Type", wire.JSON), ("Content-Length", str(len(body)))]) + body)
        _gone(s)


def test_answers_that_nobody_reads(hub: Attacked) -> None:
    big = hub.post("Binary", b"\x00" * (8 << 20), "application/octet-stream")
    path = big.headers["location"].partition("/fhir/")[2]
    sockets = [wire.connect(hub.port) for _ in range(30)]
    for s in sockets:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(wire.head("GET", path))
    assert hub.get("Patient/an").status == 200
    for s in sockets:
        _gone(s)


def test_many_connections(hub: Attacked) -> None:
    sockets = [wire.connect(hub.port) for _ in range(500)]
    assert hub.get("Patient/an").status == 200
    for s in sockets:
        s.close()


def test_many_at_once(either: Attacked) -> None:
    """Two hundred clients with the dearest searches each: every one is answered."""
    statuses: list[int] = []

    def ask(n: int) -> None:
        path = (
            "Patient?_content=an&_include=*&_revinclude=*",
            "?_text=a&_sort=-_lastUpdated",
            "Patient?name:contains=n&_sort=-birthdate,name",
            "Patient?_has:Observation:subject:code=8867-4",
        )[n % 4]
        statuses.append(either.get(path).status)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(statuses) == 200
    assert set(statuses) <= {200, 400, 429, 503}
