"""Thousands of half-open and senseless things are refused or dropped within bounds, while one honest call loses nothing."""

import asyncio
import logging
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from bench.processes import memory
from bench.relay import session
from bench.relay.transport import OUT, Transport
from telemed.ports import MediaError, PeerState
from telemed.relay import peer as peers
from telemed.relay import tcp
from telemed.relay.build import Form
from telemed.relay.dtls import Certificate, Dtls
from telemed.relay.peer import CONNECT_SECONDS, MAX_ADDRESSES, MAX_SSRCS
from telemed.wire import stun
from tests.telemed.relay.honest import Ear, call, check, offered, silent, stranger, until

MANY = 10_000
AT_ONCE = 50  # datagrams before the relay has its turn: the kernel's buffer is not what is tried here
LINES = 20  # of the log, whatever is done
MEGABYTES = 120.0  # that any of this may take


@pytest.fixture(params=["python", "compiled"])
def form(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(autouse=True)
def bounded(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Neither the log nor memory grows with what is sent."""
    caplog.set_level(logging.INFO)
    before = memory(os.getpid())
    yield
    assert len(caplog.records) <= LINES
    assert memory(os.getpid()) - before < MEGABYTES


async def test_offers_that_nothing_follows(form: Form) -> None:
    """10,000 are answered or refused; those that were answered are gone after their time, whatever more they offer."""
    async with call(form, max_peers=300) as honest:
        relay, transport = honest.relay, silent()
        ear, refused, open_ = Ear(), 0, []
        text = session.offer(transport, ())
        for n in range(MANY):
            try:
                peer = relay.join(f"room{n % 40}", f"p{n}", ear)
            except MediaError as e:
                refused += e.code == "full"
            else:
                open_.append(peer)
                if n % 3:
                    peer.negotiate(text, {}, {})
            if n % AT_ONCE == 0:
                honest.speak()
                await asyncio.sleep(0)
        assert (len(open_), refused) == (298, MANY - 298)
        assert not relay.connecting  # who has sent nothing costs no clock
        late = relay.now() + CONNECT_SECONDS + 1
        for peer in open_:
            if peer.dtls is not None:
                peer.negotiate(text, {}, {})  # another offer is no more time
                peer.answered = late
            peer.tick(late)
        assert len(relay.peers) == 2
        assert set(relay.rooms) == {"honest"}
        await asyncio.sleep(0)
        assert ear.states.count(PeerState.CLOSED) == 298
        transport.close()


async def test_checks_by_a_known_name_that_no_handshake_follows(form: Form) -> None:
    async with call(form) as honest:
        relay, transport = honest.relay, silent()
        peer, remote = offered(relay, "x", transport)
        sockets = [stranger() for _ in range(200)]
        for n in range(MANY):
            sockets[n % 200].sendto(check(remote, (stun.USE_CANDIDATE, b"")), relay.address)
            if n % AT_ONCE == 0:
                honest.speak()
                await asyncio.sleep(0.001)
        await until(lambda: len(peer.addresses) == MAX_ADDRESSES, honest.speak)
        assert len(relay.forwarding.endpoints) <= MAX_ADDRESSES + 2
        assert not relay.connecting
        peer.tick(relay.now() + CONNECT_SECONDS + 1)
        assert len(relay.forwarding.endpoints) == 2
        assert len(relay.peers) == 2
        for s in sockets:
            s.close()
        transport.close()


async def test_the_address_in_use_is_not_pushed_out_by_others(form: Form) -> None:
    async with call(form) as honest:
        remote = honest.publisher.transport.remote
        for _ in range(3 * MAX_ADDRESSES):
            s = stranger()
            s.sendto(check(remote), honest.relay.address)
            await until(lambda s=s: s.getsockname() in honest.relay.forwarding.endpoints, honest.speak)  # type: ignore[misc]
            s.close()
        assert honest.publisher.transport.address in honest.relay.forwarding.endpoints


async def test_hellos_of_dtls_that_are_abandoned(form: Form) -> None:
    async with call(form) as honest:
        relay, transport = honest.relay, silent()
        peer, remote = offered(relay, "x", transport)
        s = stranger()
        s.sendto(check(remote, (stun.USE_CANDIDATE, b"")), relay.address)
        await until(lambda: peer.addresses, honest.speak)
        flights: list[bytes] = []
        certificate = Certificate()
        for _ in range(100):
            Dtls(certificate, [remote.fingerprint], False, flights.append).start()
        rnd = random.Random(4)
        for n in range(MANY):
            flight = flights[n % 100]
            if n % 4 == 3:  # broken ones among them
                at = rnd.randrange(13, len(flight))
                flight = flight[:at] + bytes((flight[at] ^ 0x55,)) + flight[at + 1 :]
            s.sendto(flight, relay.address)
            if n % AT_ONCE == 0:
                honest.speak()
                await asyncio.sleep(0.001)
        s.close()
        peer.tick(relay.now() + CONNECT_SECONDS + 1)
        await until(lambda: len(relay.peers) == 2 and not relay.connecting, honest.speak)
        transport.close()


async def connected(relay: Any, name: str, honest: Any) -> tuple[peers.Peer, Transport]:
    """One who may send media, and means harm."""
    transport = silent()
    peer, remote = offered(relay, name, transport)
    transport.start(remote)
    await until(transport.connected.done, honest.speak)
    await until(lambda: peer.state is PeerState.CONNECTED, honest.speak)
    return peer, transport


def rtp(transport: Transport, kind: int, ssrc: int, sequence: int, rest: bytes) -> None:
    packet = bytes((0x80, kind)) + (sequence & 0xFFFF).to_bytes(2) + bytes(4) + ssrc.to_bytes(4) + rest
    OUT[: len(packet)] = packet
    transport.send_rtp(len(packet))


async def test_unknown_streams_are_not_remembered_without_end(form: Form) -> None:
    """libsrtp keeps a context of each SSRC that it authenticated: who sends with more than MAX_SSRCS is cut off."""
    async with call(form) as honest:
        peer, transport = await connected(honest.relay, "x", honest)
        for n in range(MANY):
            rtp(transport, 111 if n % 2 else 77, 5000 + n, n, bytes(20))
            if n % AT_ONCE == 0:
                honest.speak()
                await asyncio.sleep(0.001)
        await until(lambda: peer.state is PeerState.CLOSED, honest.speak)
        assert len(peer.seen) == MAX_SSRCS + 1
        transport.close()


async def test_payload_types_and_headers_that_nobody_agreed_on(form: Form) -> None:
    async with call(form) as honest:
        peer, transport = await connected(honest.relay, "x", honest)
        rnd = random.Random(5)
        for n in range(MANY):
            packet = bytearray(rnd.randbytes(rnd.randrange(12, 200)))
            packet[0] = 0x80 | packet[0] & 0x3F  # extensions, padding and CSRCs that do not fit, too
            packet[1] = rnd.choice([111, 96, 97, 239, 224, *range(60)])
            packet[2:4] = (n & 0xFFFF).to_bytes(2)
            packet[8:12] = (7000 + n % 40).to_bytes(4)
            OUT[: len(packet)] = packet
            transport.send_rtp(len(packet))
            if n % AT_ONCE == 0:
                honest.speak()
                await asyncio.sleep(0.001)
        await until(lambda: peer.endpoint.received_packets + peer.endpoint.bad > MANY // 2, honest.speak)
        assert len(peer.endpoint.streams) <= 64
        assert peer.state is PeerState.CONNECTED
        peer.close()
        transport.close()


async def test_rtcp_with_nonsense(form: Form) -> None:
    async with call(form) as honest:
        peer, transport = await connected(honest.relay, "x", honest)
        rnd = random.Random(6)
        for n in range(MANY):
            words = rnd.randrange(2, 40)
            body = bytearray(rnd.randbytes(4 * words))
            body[0], body[1] = 0x80 | body[0] & 0x3F, rnd.randrange(192, 224)
            body[2:4] = (words - 1 if n % 3 else rnd.randrange(0x10000)).to_bytes(2)
            body[4:8] = (n % 50).to_bytes(4)
            transport.send_rtcp(bytes(body))
            if n % AT_ONCE == 0:
                honest.speak()
                await asyncio.sleep(0.001)
        await until(lambda: peer.endpoint.bad > 1000, honest.speak)
        assert peer.state is PeerState.CONNECTED
        peer.close()
        transport.close()


async def test_tracks_that_begin_anew_with_every_packet_leave_nothing(form: Form) -> None:
    async with call(form) as honest:
        peer, transport = await connected(honest.relay, "x", honest)
        for n in range(MAX_SSRCS // 2):
            rtp(transport, 111, 9000 + n, n, bytes(20))
            peer.reports.receiver_report_bytes()
            if n % AT_ONCE == 0:
                honest.speak()
                await asyncio.sleep(0.001)
        await until(lambda: peer.endpoint.received_packets > MAX_SSRCS // 4, honest.speak)
        peer.reports.receiver_report_bytes()
        assert len(peer.endpoint.streams) <= 1
        assert len(peer.reports._before) <= 1
        peer.close()
        transport.close()


async def test_noise_from_strangers(form: Form) -> None:
    async with call(form) as honest:
        rnd, s = random.Random(7), stranger()
        for n in range(MANY):
            data = bytearray(rnd.randbytes(rnd.randrange(1, 300)))
            data[0] = rnd.choice([0, 1, 20, 22, 63, 100, 128, 144, 191, 255])
            s.sendto(data, honest.relay.address)
            if n % AT_ONCE == 0:
                honest.speak()
                await asyncio.sleep(0.001)
        await until(lambda: honest.relay.load()["strangers"] > MANY // 2, honest.speak)
        assert len(honest.relay.forwarding.endpoints) == 2
        s.close()


async def test_a_fault_of_ours_is_not_said_for_every_packet(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    async with call(form) as honest:
        relay, noisy = honest.relay, stranger()
        whole = relay.on_stun

        def fails(data: bytes, address: Any) -> None:
            if address[1] == noisy.getsockname()[1]:
                raise ZeroDivisionError
            whole(data, address)

        monkeypatch.setattr(relay, "on_stun", fails)
        for n in range(1000):
            noisy.sendto(bytes(20), relay.address)
            if n % AT_ONCE == 0:
                honest.speak()
                await asyncio.sleep(0.001)
        await until(lambda: relay.load()["faults"] > 500, honest.speak)
        noisy.close()


async def test_silent_tcp_makes_room_for_who_speaks(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "MAX_CONNECTIONS", 50)
    async with call(form) as honest:
        relay, ends = honest.relay, []
        for _ in range(300):
            _, writer = await asyncio.open_connection(*relay.address)
            ends.append(writer)
            honest.speak()
        await until(lambda: relay.load()["tcp"] == 50, honest.speak)
        peer, remote = offered(relay, "x", transport := silent())
        reader, writer = await asyncio.open_connection(*relay.address)
        request = check(remote, (stun.USE_CANDIDATE, b""))
        writer.write(len(request).to_bytes(2) + request)
        answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        assert stun.parse(answer).kind == stun.SUCCESS
        # More of its own connections than it may have: those that are pushed out are closed, the one in use is not.
        for _ in range(2 * MAX_ADDRESSES):
            _, other = await asyncio.open_connection(*relay.address)
            request = check(remote)
            other.write(len(request).to_bytes(2) + request)
            ends.append(other)
            honest.speak()
        assert peer.endpoint.tcp is not None
        await until(lambda: len(peer.addresses) == MAX_ADDRESSES, honest.speak)
        assert peer.endpoint.tcp in peer.addresses
        peer.close()
        assert await reader.read() == b""
        for end in [*ends, writer]:
            end.close()
        await until(lambda: relay.load()["tcp"] == 0, honest.speak)
        transport.close()


def test_tcp_candidates_on_the_loop_that_the_program_runs_on(form: Form) -> None:
    """uvloop's transports are no subclass of asyncio's: a check of their type would end every connection."""
    uvloop = pytest.importorskip("uvloop")

    async def ask() -> None:
        async with call(form) as honest:
            _, remote = offered(honest.relay, "x", transport := silent())
            reader, writer = await asyncio.open_connection(*honest.relay.address)
            request = check(remote, (stun.USE_CANDIDATE, b""))
            writer.write(len(request).to_bytes(2) + request)
            async with asyncio.timeout(30):
                answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
            assert stun.parse(answer).kind == stun.SUCCESS
            writer.close()
            for _ in range(20):
                honest.speak()
            transport.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask())
