"""Thousands of WebSockets that never say hello, beside two people who talk: nothing is lost, and nothing is left of the flood."""

import asyncio
import logging
import os
import resource
import socket

import pytest

from bench.processes import memory
from tests.telemed.rooms.world import World, until, world

MANY = 10_000
PENDING = 200
SPARE = 600  # descriptors for everything else: the relay's ends of what is pending, what is just being closed, the test's own
MEGABYTES = 150.0
UPGRADE = (
    b"GET /telemed/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def affordable() -> int:
    """Connections whose both ends this process may hold."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(PENDING * 2, min(MANY, (soft if soft > 0 else 1 << 20) - descriptors() - SPARE - PENDING))


async def silent(w: World) -> socket.socket:
    s = socket.socket()
    s.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(s, ("127.0.0.1", w.port))
    await loop.sock_sendall(s, UPGRADE)
    return s


async def test_silent_connections_are_bounded_and_leave_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with world(pending=PENDING, rate=1e6, burst=10_000) as w:
        doctor, patient = await w.come("doc", "doctor"), await w.come("pat", "patient", admitted=True)
        tasks, open_before, resident, lines = len(asyncio.all_tasks()), descriptors(), memory(os.getpid()), len(caplog.records)
        flood: list[socket.socket] = []
        said = 0
        for n in range(affordable()):
            flood.append(await silent(w))
            if n % 100 == 0:
                said += 1
                assert (await doctor.ask({"type": "chat", "text": f"{n}"}))["type"] == "ok"
                assert (await patient.hear("chat"))["message"]["text"] == f"{n}"
                assert w.app.state.server.connections[1] <= PENDING
        # Those that made room for others hold nothing at the relay, though their clients do not even read.
        await until(lambda: descriptors() - len(flood) - open_before <= 3 * PENDING)
        await until(lambda: len(asyncio.all_tasks()) - tasks <= 4 * PENDING)
        assert memory(os.getpid()) - resident < MEGABYTES
        for s in flood:
            s.close()
        await until(lambda: w.app.state.server.connections == (2, 0))
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        await until(lambda: descriptors() <= open_before)
        assert len(caplog.records) - lines < 20
        assert said > 0
