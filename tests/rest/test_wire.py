"""Over a real socket: hostile requests get an OperationOutcome and the server goes on."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from health_hub.rest import protocol
from health_hub.rest.app import FhirApp
from health_hub.rest.protocol import HttpProtocol


@pytest.fixture
async def port(app: FhirApp) -> AsyncIterator[int]:
    config = uvicorn.Config(app, http=HttpProtocol, lifespan="off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        task = asyncio.create_task(server.serve(sockets=[s]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield s.getsockname()[1]
        server.should_exit = True
        await task


async def send(port: int, *pieces: bytes) -> tuple[int, dict[str, Any]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        return int(head.split()[1]), json.loads(body) if body else {}
    finally:
        writer.close()


async def alive(port: int) -> bool:
    return (await send(port, b"GET /fhir/Patient/1 HTTP/1.1\r\nHost: a\r\n\r\n"))[0] == 404


@pytest.mark.parametrize(("request_", "status"), [
    ([b"GET /fhir/Patient?name=" + b"x" * (1 << 20) + b" HTTP/1.1\r\nHost: a\r\n\r\n"], 414),
    ([b"GET /fhir/Patient?name=" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"], 414),
    ([b"GET /fhir/Patient/1 HTTP/1.1\r\nX-A: " + b"x" * (1 << 20) + b"\r\n\r\n"], 431),
    ([b"GET /fhir/Patient/1 HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 100_000 + b"\r\n"], 431),
    ([b"GET /fhir/Patient/\0 HTTP/1.1\r\nHost: a\r\n\r\n"], 400),
    ([b"NONSENSE\r\n\r\n"], 400),
    ([b"GET /fhir/Patient/1 HTTP/9.9\r\n\r\n"], 400),
    ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], 400),
    ([b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9999999999\r\n\r\n", b" " * 99], 413),
    ([b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"], 400),
    ([b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"], 400),
    ([b"GET /fhir/Patient/%E1%BB HTTP/1.1\r\nHost: a\r\n\r\n"], 404),
    ([b"GET /fhir/Patient?name=%E1%BB HTTP/1.1\r\nHost: a\r\n\r\n"], 400),
    ([b"GET /fhir/Patient?name=%zz HTTP/1.1\r\nHost: a\r\n\r\n"], 400),
    ([b"GET /fhir/Patient?name=%00 HTTP/1.1\r\nHost: a\r\n\r\n"], 400),
    ([b"BREW /fhir/Patient HTTP/1.1\r\nHost: a\r\n\r\n"], 400),
])  # fmt: skip
async def test_hostile_requests(port: int, request_: list[bytes], status: int) -> None:
    answered, body = await send(port, *request_)
    assert (answered, body["resourceType"]) == (status, "OperationOutcome")
    assert await alive(port)


async def test_a_name_in_plain_utf_8(port: int) -> None:
    status, body = await send(port, "GET /fhir/Patient?name=Nguyễn HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert (status, body["resourceType"]) == (200, "Bundle")


async def test_a_body_over_the_limit_is_told_so_after_it_was_sent(port: int, app: FhirApp) -> None:
    size = app.hub.settings.max_body + 1
    head = b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % size
    status, body = await send(port, head, *[b" " * (1 << 20)] * (size >> 20), b" ")
    assert (status, body["issue"][0]["code"]) == (413, "too-long")


async def test_one_connection_serves_on_after_a_refusal(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(b"GET /fhir/Patient/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 404 " in head
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    writer.close()


async def test_a_head_that_never_ends_is_cut(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.0)
    monkeypatch.setattr(protocol, "_LOOK", 0.05)
    for start in (b"", b"GET /fhir/Patient/1 HTTP/1.1\r\nX: "):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(start)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_body_that_stalls_is_408(port: int, app: FhirApp, monkeypatch: pytest.MonkeyPatch) -> None:
    object.__setattr__(app._settings, "timeout_body", 0.05)
    status, body = await send(port, b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
    assert (status, body["issue"][0]["code"]) == (408, "timeout")
    assert await alive(port)
