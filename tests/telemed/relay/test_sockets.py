"""Two sockets at one port: what can wait is told apart by the kernel, and is read with the time at which it came."""

import asyncio
import socket
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from telemed.relay import forward, sockets, srtp
from telemed.relay.build import Form, choose
from telemed.relay.relay import Relay
from tests.telemed.relay.forms import have
from tests.telemed.relay.test_forward import PROFILE, session

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="one socket elsewhere")

FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


def packet(first: int, second: int, size: int) -> bytes:
    """An RTCP packet of `size` bytes, by its header."""
    return struct.pack("!BBH", first, second, size // 4 - 1) + bytes(size - 4)


LATER = {
    "report": packet(0x81, 201, 32) + bytes(20),
    "report under SHA-1": packet(0x81, 201, 32) + bytes(14),
    "empty report": packet(0x80, 201, 8) + bytes(20),
    "sender's report": packet(0x80, 200, 28) + bytes(20),
    "transport-wide feedback": packet(0x8F, 205, 24) + bytes(20),
    "padded feedback": packet(0xAF, 205, 24) + bytes(20),
}
SOON = {
    "NACK": packet(0x81, 205, 16) + bytes(20),
    "PLI": packet(0x81, 206, 12) + bytes(20),
    "report and what is behind it": packet(0x81, 201, 32) + bytes(8) + bytes(20),
    "report and what is behind it under SHA-1": packet(0x81, 201, 32) + bytes(8) + bytes(14),
    "feedback and NACK": packet(0x8F, 205, 24) + packet(0x81, 205, 16) + bytes(20),
    "media": packet(0x80, 96, 1000),
    "media of payload type 73": packet(0x80, 0xC9 & 0x7F, 1000),
    "STUN": packet(0, 1, 20),
    "DTLS": bytes([22, 254, 253]) + bytes(60),
    "version 1": packet(0x41, 201, 32) + bytes(20),
    "short": b"\x80\xc9\0\0",
    "one byte": b"\x80",
    "nothing": b"",
}


@pytest.mark.parametrize(("family", "host"), FAMILIES)
@pytest.mark.parametrize("name", [*LATER, *SOON])
def test_only_reports_and_feedback_that_stand_alone_wait(family: int, host: str, name: str) -> None:
    media, reports = sockets.bind(family, host, 0)
    assert reports is not None
    with media, reports, socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.sendto({**LATER, **SOON}[name], media.getsockname())
        taker, other = (reports, media) if name in LATER else (media, reports)
        assert taker.recv(2000) == {**LATER, **SOON}[name]
        with pytest.raises(BlockingIOError):
            other.recv(2000)


@pytest.mark.parametrize(("family", "host"), FAMILIES)
def test_a_port_that_is_taken_is_taken(family: int, host: str) -> None:
    media, reports = sockets.bind(family, host, 0)
    assert reports is not None
    port = media.getsockname()[1]
    with media, reports, pytest.raises(OSError, match="in use"):
        sockets.bind(family, host, port)
    again, more = sockets.bind(family, host, port)
    again.close()
    assert more is not None
    more.close()


def test_where_the_kernel_does_not_tell_them_apart_one_socket_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "SO_ATTACH_REUSEPORT_CBPF", 9999)
    media, reports = sockets.bind(socket.AF_INET, "127.0.0.1", 0)
    assert reports is None
    with media, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.sendto(LATER["report"], media.getsockname())
        assert media.recv(2000) == LATER["report"]


class Owner:
    """Takes what the step hands on."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, float]] = []

    def on_rtcp(self, endpoint: forward.Endpoint, data: bytes, now: float) -> None:
        self.got.append((data, now))

    def on_stun(self, *_: Any) -> None: ...


def connect(step: Any, peer: socket.socket) -> None:
    """What comes from `peer` is one's who uses `session(bytes(range(28)), False)`."""
    peer.bind(("127.0.0.1", 0))
    endpoint = step.endpoint(None)
    endpoint.secure(srtp.Keys(PROFILE, bytes(range(28)), True), srtp.Keys(PROFILE, bytes(range(1, 29)), False))
    step.know(peer.getsockname(), endpoint)


@pytest.fixture(params=["python", "compiled"])
def world(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Owner, socket.socket]]:
    form: Form = have(request.param)
    media, reports = sockets.bind(socket.AF_INET, "127.0.0.1", 0)
    owner = Owner()
    step = choose(form, media, owner, reports)  # type: ignore[arg-type]
    with media, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        connect(step, peer)
        yield step, owner, peer
    assert reports is not None
    reports.close()
    step.close()


def test_reports_are_read_at_the_next_tick_with_the_time_of_their_arrival(world: tuple[Any, Owner, socket.socket]) -> None:
    step, owner, peer = world
    keys, to = session(bytes(range(28)), False), step.sock.getsockname()
    report = packet(0x80, 201, 8)
    began = time.monotonic()
    peer.sendto(keys.protect_rtcp(report), to)
    sent = time.monotonic()
    step.pump()
    assert not owner.got
    time.sleep(0.1)
    peer.sendto(b"\x80\xc9\0\1" + bytes(24), to)  # forged
    peer.sendto(keys.protect_rtcp(packet(0x81, 206, 12)), to)  # a PLI does not wait
    step.pump()
    assert [data[1] for data, _ in owner.got] == [206]
    step.settle()
    assert [data for data, _ in owner.got[1:]] == [report]
    assert began - 0.02 < owner.got[1][1] < sent + 0.02
    step.settle()
    assert len(owner.got) == 2


def test_many_reports_leave_turns_to_others(world: tuple[Any, Owner, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    step, owner, peer = world
    for each in (forward, sys.modules["telemed.relay.compiled"]):
        monkeypatch.setattr(each, "SETTLED", 64)
    keys, to = session(bytes(range(28)), False), step.sock.getsockname()
    for n in range(100):
        peer.sendto(keys.protect_rtcp(packet(0x80, 201, 8 + 4 * (n % 2))), to)
    step.settle()
    assert len(owner.got) == 64
    step.settle()
    assert len(owner.got) == 100


def test_a_clock_that_is_set_moves_no_arrival_far() -> None:
    def stamped(seconds: int) -> list[tuple[int, int, bytes]]:
        return [(socket.SOL_SOCKET, sockets.SO_TIMESTAMPNS, sockets.STAMP.pack(seconds, 500_000_000))]

    assert sockets.arrived(stamped(1_000), -900.0, 100.6) == 100.5
    assert sockets.arrived(stamped(1_000), -900.0, 200.0) == 200.0  # the wall clock went back, or forward
    assert sockets.arrived(stamped(5_000), -900.0, 100.6) == 100.6
    assert sockets.arrived([], -900.0, 100.6) == 100.6
    assert sockets.arrived([(1, 2, b"short")], -900.0, 100.6) == 100.6


async def test_two_relays_do_not_share_a_port() -> None:
    one = Relay(tcp=False)
    await one.start()
    try:
        two = Relay(port=one.address[1], tcp=False)
        with pytest.raises(OSError, match="in use"):
            await two.start()
    finally:
        await one.close()
    three = Relay(port=one.address[1], tcp=False)
    await three.start()
    await asyncio.sleep(0)
    await three.close()
