"""DTLS: every record of a datagram, what ends an association, and any bytes at any time."""

import asyncio
import contextlib
import gc
import random
import time
import weakref
from struct import pack

import pytest
from OpenSSL import SSL

from telemed.ports import PeerState
from telemed.relay.dtls import Certificate, Dtls, DtlsError
from tests.telemed.relay.ends import End, relay, until
from tests.telemed.wire.fuzz import mutated

SECONDS = 4.0  # of mutated bytes


class Two:
    """A client and a server; datagrams wait in lists until they are passed on."""

    def __init__(self, client: Certificate | None = None, server: Certificate | None = None) -> None:
        certificates = client or Certificate(), server or Certificate()
        names = [tuple(c.fingerprint.split(" ", 1)) for c in certificates]
        self.to_client: list[bytes] = []
        self.to_server: list[bytes] = []
        self.client = Dtls(certificates[0], [names[1]], False, self.to_server.append)  # type: ignore[list-item]
        self.server = Dtls(certificates[1], [names[0]], True, self.to_client.append)  # type: ignore[list-item]
        self.client.start()

    def step(self) -> None:
        for to, waiting in ((self.server, self.to_server), (self.client, self.to_client)):
            for datagram in waiting[:]:
                waiting.remove(datagram)
                to.receive(datagram)

    def connected(self) -> "Two":
        for _ in range(20):
            self.step()
        assert self.client.connected
        assert self.server.connected
        return self


def test_all_records_of_a_datagram_are_read() -> None:
    two = Two().connected()
    messages = [bytes([n]) * (n + 1) for n in range(30)]
    for message in messages:
        two.client.send(message)
    together = b"".join(two.to_server)
    assert len(together) < 2048
    assert two.server.receive(together) == messages
    two.to_server.clear()
    two.client.send(b"next")
    assert two.server.receive(two.to_server.pop()) == [b"next"]
    assert not two.server.ended


def test_data_behind_the_last_record_of_the_handshake_is_not_lost() -> None:
    two = Two()
    while not two.client.connected:
        # The server's last flight is what makes the client connected; the client is then ready before it hears more.
        for datagram in two.to_server[:]:
            two.to_server.remove(datagram)
            two.server.receive(datagram)
        if two.server.connected:
            two.server.send(b"early")
            together = b"".join(two.to_client)
            two.to_client.clear()
            assert two.client.receive(together) == [b"early"]
            break
        for datagram in two.to_client[:]:
            two.to_client.remove(datagram)
            two.client.receive(datagram)
    assert two.client.connected


def test_a_goodbye_after_data_ends_it_and_the_data_is_there() -> None:
    two = Two().connected()
    two.client.send(b"last words")
    two.client.close()
    assert two.server.receive(b"".join(two.to_server)) == [b"last words"]
    assert two.server.ended
    assert two.server.receive(two.to_server[0]) == []


def test_what_is_not_of_the_peer_ends_nothing() -> None:
    two = Two().connected()
    chance = random.Random(3)
    for data in mutated([pack("!BHHIHH", kind, 0xFEFD, epoch, 0, 7, 16) + bytes(16) for kind in range(20, 25) for epoch in (0, 1)], 60):
        assert two.server.receive(data) == []
    for _ in range(300):
        assert two.server.receive(chance.randbytes(chance.randrange(1, 400))) == []
    for alert in (b"\x01\x00", b"\x02\x28", b"\x02\x00"):  # a goodbye or a fatal alert that anyone can write
        assert two.server.receive(pack("!BHHIHH", 21, 0xFEFD, 0, 0, 99, 2) + alert) == []
    two.client.send(b"still there")
    assert two.server.receive(two.to_server.pop()) == [b"still there"]
    assert not two.server.ended


@pytest.mark.parametrize("asks", ["client", "server"])
def test_a_session_is_not_negotiated_anew(asks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else another certificate could take the place of the one that was compared."""
    with monkeypatch.context() as patch:
        patch.setattr(SSL, "OP_NO_RENEGOTIATION", 0)
        theirs = Certificate()
    two = Two(**{asks: theirs}).connected()
    peer, ours = (two.client, two.server) if asks == "client" else (two.server, two.client)
    assert peer._ssl is not None
    assert ours._ssl is not None
    assert peer._ssl.renegotiate()
    with contextlib.suppress(SSL.WantReadError):
        peer._ssl.do_handshake()
    peer._flush()
    asked = two.to_server if asks == "client" else two.to_client
    assert asked
    answers = two.to_client if asks == "client" else two.to_server
    for datagram in asked:
        ours.receive(datagram)
    assert all(data[0] == 21 for data in answers)  # alerts: no hello
    assert ours._ssl.total_renegotiations() == 0


def records(chance: random.Random) -> bytes:
    """Records with heads that pass and bodies that do not: fragments of any length, alerts, epochs to come."""
    out = b""
    for _ in range(chance.randrange(1, 4)):
        kind = chance.choice((20, 21, 22, 22, 22, 23, 24, 25, 63))
        body = chance.randbytes(chance.choice((0, 1, 2, 12, 40, 200)))
        if kind == 22:
            whole = chance.choice((0, 1, 200, 0xFFFF, 0xFFFFFF))
            at = chance.choice((0, 0, 1, 0xFFFFFF))
            head = bytes([chance.choice((0, 1, 2, 3, 11, 12, 14, 15, 16, 20, 255))]) + whole.to_bytes(3)
            body = head + pack("!H", chance.choice((0, 1, 2, 9, 65535))) + at.to_bytes(3) + len(body).to_bytes(3) + body
        epoch = chance.choice((0, 0, 0, 1, 2, 65535))
        length = len(body) if chance.random() < 0.8 else chance.randrange(65536)
        out += pack("!BHHHIH", kind, chance.choice((0xFEFD, 0xFEFF, 0x0303, 0)), epoch, 0, chance.randrange(2**32), length) + body
    return out


async def test_any_bytes_at_any_time_harm_no_one_else() -> None:
    chance = random.Random(11)
    async with relay() as made:
        honest = End(made, "honest")
        await honest.ready()
        flights = [data for data in honest.sent if data[:1] in (b"\x14", b"\x16")]
        assert len(flights) >= 2
        gone: list[weakref.ref[object]] = []
        ends = time.monotonic() + SECONDS
        rounds = closed = 0
        while time.monotonic() < ends:
            rounds += 1
            end = End(made, f"p{rounds}", f"room{rounds % 3}")
            end.offer(setup=chance.choice(("active", "passive", "actpass")))
            end.peer._know(end.socket.getsockname())
            end.peer._use(end.socket.getsockname())
            gone += [weakref.ref(end.peer), weakref.ref(end.peer.data)]
            for data in mutated(flights, 5, seed=rounds):
                made.on_dtls(end.peer.endpoint, data)
                made.on_dtls(end.peer.endpoint, records(chance))
                if chance.random() < 0.3:
                    made.on_dtls(end.peer.endpoint, chance.choice(flights))  # whole, of another session
            if rounds % 3 == 0:
                # A handshake with noise in it: it succeeds or the peer is cut off, and what is connected stays so.
                late = End(made, f"q{rounds}")
                late.offer()
                late.connect()
                for _ in range(30):
                    await asyncio.sleep(0.001)
                    try:
                        late._read()
                    except DtlsError:
                        break
                    made.on_dtls(late.peer.endpoint, records(chance))
                    if late.peer.state is PeerState.CLOSED:
                        break
                gone += [weakref.ref(late.peer), weakref.ref(late.peer.data)]
                late.peer.close()
                late.close()
                del late
            closed += end.peer.state is PeerState.CLOSED
            end.peer.close()
            end.close()
            del end
            await asyncio.sleep(0)
        assert rounds > 10
        # The one that was there all the time noticed nothing, and a new one gets in.
        fresh = End(made, "fresh")
        await fresh.ready()
        assert honest.channels is not None
        assert honest.channels.send("chat", "", "xin chào")
        await until(lambda: ("chat", "xin chào") in fresh.heard)
        assert made.peers == {honest.peer, fresh.peer}
        assert set(made.forwarding.endpoints.values()) == {honest.peer.endpoint, fresh.peer.endpoint}
        assert set(made.fragments.values()) == {honest.peer, fresh.peer}
        assert set(made.rooms) == {"r"}
        assert made.connecting <= {honest.peer, fresh.peer}
        gc.collect()
        assert not [ref() for ref in gone if ref() is not None]
        for one in (honest, fresh):
            one.close()
