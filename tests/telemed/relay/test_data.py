"""Data channels of peers in a room: agreed, late, early, gone; and what a fast sender or a slow receiver may cost the others."""

import asyncio

import pytest

from telemed.relay import data, sctp
from telemed.relay.data import carries_data
from tests.telemed.relay.ends import DATA, SOUND, End, relay, until


def section(answer: str, mid: str) -> list[str]:
    """The lines of an m-line."""
    parts = answer.split("\r\nm=")
    return next(part.splitlines() for part in parts if f"a=mid:{mid}" in part.splitlines())


async def test_the_answer_says_how() -> None:
    async with relay() as made:
        end = End(made, "a")
        found = section(end.offer(SOUND + DATA), "d")
        assert found[0] == "application 9 UDP/DTLS/SCTP webrtc-datachannel"
        assert {"a=sctp-port:5000", "a=max-message-size:262144", "a=setup:passive"} <= set(found)
        assert not [line for line in found if line.startswith(("a=rtcp", "a=sendonly", "a=recvonly"))]
        end.close()


@pytest.mark.parametrize("change", [
    ("a=sctp-port:5000", "a=sctp-port:0"), ("a=sctp-port:5000\r\n", ""), ("webrtc-datachannel", "5000"), ("UDP/DTLS/SCTP", "UDP/UDPTL"),
    ("application 9", "application 0"),
])  # fmt: skip
async def test_other_kinds_of_data_channel_are_refused_and_the_rest_goes_on(change: tuple[str, str]) -> None:
    async with relay() as made:
        end = End(made, "a")
        answer = end.offer(SOUND + DATA.replace(*change))
        assert section(answer, "d")[0].startswith("application 0 ")
        assert section(answer, "0")[0].startswith("audio 9 ")
        end.close()


async def test_one_m_line_of_an_offer_carries_data() -> None:
    async with relay() as made:
        end = End(made, "a")
        answer = end.offer(DATA + DATA.replace("mid:d", "mid:e"))
        assert section(answer, "d")[0].startswith("application 9 ")
        assert section(answer, "e")[0].startswith("application 0 ")
        end.close()


async def test_messages_reach_the_others_of_the_room_with_label_and_sender() -> None:
    async with relay() as made:
        ends = [End(made, name, room) for name, room in (("a", "r"), ("b", "r"), ("c", "r"), ("x", "other"))]
        for end in ends:
            await end.ready()
        a, b, c, x = ends
        sent: list[bytes | str] = ["xin chào", bytes(200_000), b"", ""]
        for message in sent:
            assert a.channels is not None
            assert a.channels.send("file", "", message)
        assert b.channels is not None
        b.channels.send("vitals", "", "1")
        await until(lambda: len(c.heard) == 5 and len(b.heard) == 4 and len(a.heard) == 1)
        assert [m for label, m in c.heard if label == "file"] == sent
        assert c.channels is not None
        there = c.channels._sctp._data_channels
        assert {(channel.label, channel.protocol) for channel in there.values()} == {("file", "a"), ("vitals", "b")}
        assert not x.heard
        b.peer.close()
        # What came from one who left ends; the page then gives up a file of which half has come.
        await until(lambda: {channel.protocol for channel in there.values()} == {"a"})
        for end in ends:
            end.close()


async def test_a_peer_rests_while_nothing_is_said_and_wakes_for_a_message_either_way() -> None:
    async with relay() as made:
        a, b = End(made, "a"), End(made, "b")
        for end in (a, b):
            await end.ready()
        peers = [end.peer for end in (a, b)]
        await until(lambda: all(peer.endpoint.due > 0 for peer in peers))
        assert a.channels is not None
        a.channels.send("vitals", "", "1")
        await until(lambda: ("vitals", "1") in b.heard)
        await until(lambda: all(peer.endpoint.due > 0 and not peer.data.waiting for peer in peers))
        a.peer.endpoint.due = b.peer.endpoint.due = made.now() + 1000
        a.channels.send("file", "", bytes(20_000))
        await until(lambda: a.peer in made.sending)
        assert a.peer.endpoint.due == 0.0, "what it has cost is to wear off"
        await until(lambda: len(b.heard) == 2 and b.peer.endpoint.due < made.now() + 10)
        b.peer.endpoint.due = made.now() + 1000
        b.peer.send_data("file", "a", bytes(1000))
        assert b.peer.endpoint.due == 0.0, "what waits is paced, and given up when it is not taken"
        for end in (a, b):
            end.close()


async def test_channels_that_come_with_a_later_offer_and_go_with_another() -> None:
    async with relay() as made:
        a, b = End(made, "a"), End(made, "b")
        await a.ready()
        b.offer(SOUND)
        b.connect()
        await until(lambda: b.peer.endpoint.rx is not None)
        assert b.dtls is not None
        b.dtls.send(b"nothing has been agreed on")
        a.peer.send_data("vitals", "b", "lost")
        b.offer(SOUND + DATA)
        channels = b.open()
        await until(lambda: channels._sctp.state == "connected")
        channels.send("vitals", "", "1")
        await until(lambda: ("vitals", "1") in a.heard)
        # An offer again changes nothing.
        b.offer(SOUND + DATA)
        channels.send("vitals", "", "2")
        await until(lambda: ("vitals", "2") in a.heard)
        b.offer(SOUND + DATA.replace("application 9", "application 0"))
        await until(lambda: channels.closed)
        b.offer(SOUND + DATA)
        channels = b.open()
        await until(lambda: channels._sctp.state == "connected")
        channels.send("vitals", "", "3")
        await until(lambda: ("vitals", "3") in a.heard)
        for end in (a, b):
            end.close()


async def test_what_is_sent_to_one_who_is_still_connecting_is_kept_within_a_bound() -> None:
    async with relay() as made:
        a, b = End(made, "a"), End(made, "b")
        await a.ready()
        b.offer()
        assert a.channels is not None
        a.channels.send("vitals", "", '{"spo2": 96}')
        for _ in range(100):
            a.channels.send("file", "", bytes(1_000))
        await until(lambda: len(b.peer.data._early) > 50)
        await asyncio.sleep(0.1)
        assert b.peer.data._early_bytes <= 66_000
        b.connect()
        await until(lambda: b.peer.endpoint.rx is not None)
        b.open()
        await until(lambda: ("vitals", '{"spo2": 96}') in b.heard and len(b.heard) > 50)
        for end in (a, b):
            end.close()


async def test_a_message_that_is_too_long_ends_its_channel() -> None:
    async with relay() as made:
        a, b = End(made, "a"), End(made, "b")
        for end in (a, b):
            await end.ready()
        channels = a.channels
        assert channels is not None
        channels._sctp._remote_max_message_size = channels._max_message = 1 << 20
        channels.send("vitals", "", "1")
        channels.send("file", "", bytes(sctp.MAX_MESSAGE + 1))
        await until(lambda: {channel.label for channel in channels._sctp._data_channels.values()} == {"vitals"})
        assert b.heard == [("vitals", "1")]
        for end in (a, b):
            end.close()


def window(end: End) -> int:
    """What `end` may have on the way to the relay."""
    channels = end.peer.data._channels
    assert channels is not None
    return int(channels._sctp._advertised_rwnd)


async def test_a_slow_receiver_slows_the_sender_and_is_left_behind_when_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sctp, "STALL_SECONDS", 3_600.0)
    monkeypatch.setattr(data, "RATE", 1e9)
    monkeypatch.setattr(data, "TOTAL", 1e9)
    async with relay() as made:
        a, b, c = (End(made, name) for name in "abc")
        for end in (a, b, c):
            await end.ready()
        b.lost = lambda _: True
        assert a.channels is not None
        for _ in range(10):
            a.channels.send("file", "", bytes(100_000))
        await until(lambda: len(c.heard) == 10, 30)
        assert 500_000 < b.peer.data.waiting < sctp.MAX_BUFFERED
        await until(lambda: window(a) <= 0)
        monkeypatch.setattr(sctp, "STALL_SECONDS", 0.5)
        await until(lambda: b.peer.data.waiting == 0)
        await until(lambda: window(a) == sctp.WINDOW)
        # What is small still waits for it, in case it comes back; a file would not.
        a.channels.send("file", "", bytes(100_000))
        a.channels.send("vitals", "", "1")
        await until(lambda: len(c.heard) == 12)
        assert 0 < b.peer.data.waiting < 1_000
        b.lost = lambda _: False
        await until(lambda: ("vitals", "1") in b.heard)
        assert made.sending <= {a.peer, c.peer}
        await until(lambda: not made.sending)
        for end in (a, b, c):
            end.close()


async def test_who_does_not_keep_to_the_window_loses_datagrams_and_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "POLICED", 60_000)
    async with relay() as made:
        a, b = End(made, "a"), End(made, "b")
        for end in (a, b):
            await end.ready()
        messages: list[bytes | str] = [bytes([n]) * 16_000 for n in range(12)]
        assert a.channels is not None
        for message in messages:
            a.channels.send("file", "", message)
        await until(lambda: len(b.heard) == 12, 30)
        assert [message for _, message in b.heard] == messages
        assert a.peer.data.policed
        for end in (a, b):
            end.close()


async def test_a_message_costs_its_sender_for_each_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "RATE", 0.0)
    async with relay() as made:
        ends = [End(made, name, room) for name, room in (("a", "r"), ("b", "r"), ("c", "r"), ("d", "r"), ("x", "other"))]
        for end in ends:
            await end.ready()
        a, b = ends[:2]
        assert a.channels is not None
        a.channels.send("vitals", "", "x" * 100)
        await until(lambda: b.heard)
        assert a.peer.data._debt == 3 * (100 + data.MESSAGE_COST)
        assert window(a) == sctp.WINDOW - a.peer.data._debt
        assert made.sending == {a.peer}
        for end in ends:
            end.close()


async def test_what_carries_data() -> None:
    async with relay() as made:
        a, b = End(made, "a"), End(made, "b")
        seen: dict[int, bool] = {}
        for end in (a, b):
            plain = end.peer.data.receive

            def receive(datagram: bytes, plain: object = plain) -> None:
                seen[datagram[12]] = carries_data(datagram)
                plain(datagram)  # type: ignore[operator]

            end.peer.data.receive = receive  # type: ignore[method-assign]
            await end.ready()
        assert a.channels is not None
        a.channels.send("vitals", "", "1")
        await until(lambda: b.heard and 3 in seen)
        assert seen[0]
        assert not seen[3]
        assert not any(found for kind, found in seen.items() if kind)
        assert carries_data(bytes(16))
        assert carries_data(bytes(12) + b"\x03\x00\x00\x02")
        assert not carries_data(b"")
        for end in (a, b):
            end.close()
