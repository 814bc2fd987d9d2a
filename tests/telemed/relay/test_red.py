"""Redundant sound (RED, RFC 2198): agreed on where both sides have it and kept as it is; who has not gets the newest block as Opus."""

import struct
from collections.abc import Iterator

import pytest

from telemed.ports import MediaError, Published, Source
from telemed.relay.negotiate import read
from telemed.relay.track import Format
from telemed.wire import red, rtp
from tests.telemed.relay import ends
from tests.telemed.relay.forms import have
from tests.telemed.relay.test_forward import Bench, steps
from tests.telemed.wire.fuzz import holds

OPUS, RED = 111, 63  # the publisher's payload types


def redundant(*blocks: bytes, kind: int = OPUS) -> bytes:
    """The last block is the newest."""
    heads = [bytes([0x80 | kind]) + (960 * (len(blocks) - 1 - n) << 10 | len(block)).to_bytes(3) for n, block in enumerate(blocks[:-1])]
    return b"".join(heads) + bytes([kind]) + b"".join(blocks)


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (redundant(b"new"), (OPUS, 1)),
        (redundant(b"older", b"old", b"new"), (OPUS, 9 + 8)),
        (redundant(b"", b"new"), (OPUS, 5)),
        (redundant(b"old", b""), None),
        (redundant(bytes(1000), b"new")[:900], None),
        (redundant(b"old", b"new")[:3], None),
        (b"\xef", None),
        (b"\x6f", None),
        (b"", None),
        (b"\xef\x00\x00\x00" * 300, None),
    ],
)
def test_where_the_newest_block_lies(payload: bytes, found: tuple[int, int] | None) -> None:
    assert red.primary(payload) == found


def test_any_bytes() -> None:
    def whole(data: bytes) -> None:
        found = red.primary(memoryview(data))
        assert found is None or (0 <= found[0] < 128 and 0 < found[1] < len(data))

    assert holds(whole, [redundant(b"older", b"old", b"new"), redundant(b"new")], 2_000, ZeroDivisionError) == 4_000


class Sound(Bench):
    """A publisher of RED and Opus, one subscriber with both and one with Opus alone."""

    def __init__(self, form: str) -> None:
        super().__init__(have(form))  # type: ignore[arg-type]
        self.stream = self.step.stream(self.source, 3, 48000, False, self)
        self.stream.red = RED
        self.source.add(self.stream)
        self.ways = []
        for ssrc, numbers, unwrapped in ((11, {OPUS: 96, RED: 97}, 0), (12, {OPUS: 109}, RED)):
            types = bytearray(256)
            for theirs, ours in numbers.items():
                types[theirs], types[theirs | 128] = ours, ours | 128
            way = self.step.forwarder(self.sink, ssrc, bytes(types), None)
            way.red = unwrapped
            self.ways.append(way)
            self.step.attach(way, self.stream)
        self.sequence = 65_520

    def speak(self, payload: bytes, kind: int = RED, marker: bool = False, lose: bool = False) -> bytes:
        packet = struct.pack("!BBHII", 0x80, marker << 7 | kind, self.sequence & 0xFFFF, 960 * self.sequence & 0xFFFFFFFF, 3) + payload
        self.sequence += 1
        if not lose:
            self.again(packet)
        return packet

    def again(self, packet: bytes) -> None:
        self.publisher.sendto(self.send_session.protect(packet), self.relay.getsockname())
        self.step.pump()

    def heard(self) -> dict[int, list[tuple[int, int, bool, bytes]]]:
        """By SSRC: (sequence, payload type, marker, payload)."""
        found: dict[int, list[tuple[int, int, bool, bytes]]] = {11: [], 12: []}
        while True:
            try:
                data = self.receive_session.unprotect(self.subscriber.recv(2048))
            except BlockingIOError:
                return found
            header = rtp.parse(data)
            found[header.ssrc].append((header.sequence, header.payload_type, header.marker, data[header.payload_offset :]))


@pytest.fixture(params=["python", "compiled"])
def sound(request: pytest.FixtureRequest) -> Iterator[Sound]:
    made = Sound(request.param)
    yield made
    made.close()


def test_it_is_kept_for_who_has_it_and_unwrapped_for_who_has_not(sound: Sound) -> None:
    packets = [redundant(b"b%d" % (n - 1), b"b%d" % n) for n in range(40)]
    for n, packet in enumerate(packets):
        sound.speak(packet, marker=not n)
    sound.speak(b"plain", OPUS)
    heard = sound.heard()
    assert [got[1:] for got in heard[11]] == [(97, not n, packet) for n, packet in enumerate(packets)] + [(96, False, b"plain")]
    assert [got[1:] for got in heard[12]] == [(109, not n, b"b%d" % n) for n in range(40)] + [(109, False, b"plain")]
    for got in heard.values():
        assert steps([(number, data) for number, _, _, data in got]) == {1}
    assert (sound.ways[0].packets, sound.ways[1].packets) == (41, 41)
    assert sound.ways[1].octets == sum(len(data) for _, _, _, data in heard[12])


def test_what_cannot_be_unwrapped_leaves_no_gap(sound: Sound) -> None:
    for payload in (redundant(b"a"), redundant(b"b", b""), redundant(b"c"), redundant(b"other", kind=9), b"\xef\x00", redundant(b"d")):
        sound.speak(payload)
    heard = sound.heard()
    assert len(heard[11]) == 6
    assert [data for _, _, _, data in heard[12]] == [b"a", b"c", b"d"]
    assert steps([(number, data) for number, _, _, data in heard[12]]) == {1}


def test_a_late_one_and_one_asked_for_again_are_unwrapped_too(sound: Sound) -> None:
    sound.sequence = 100
    sound.speak(redundant(b"a"))
    lost = sound.speak(redundant(b"a", b"late"), lose=True)
    sound.speak(redundant(b"x", b""))  # left out for one of the two
    sound.speak(redundant(b"c"))
    before = sound.heard()
    sound.again(lost)
    heard = sound.heard()
    assert [got[0] for got in heard[12]] == [before[12][0][0] + 1]
    assert [got[0] for got in heard[11]] == [before[11][0][0] + 1]
    assert heard[12][0][1:] == (109, False, b"late")
    assert heard[11][0][3] == redundant(b"a", b"late")
    for way, ssrc in zip(sound.ways, (11, 12), strict=True):
        for got in before[ssrc] + heard[ssrc]:
            sound.anew()
            assert sound.step.resend(way, got[0], 1.0)
            assert sound.heard()[ssrc] == [got]


LINES = "m=audio 9 UDP/TLS/RTP/SAVPF {order}\r\na=mid:0\r\na={direction}\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n"
REDUNDANT = "a=rtpmap:63 red/48000/2\r\na=fmtp:63 {blocks}\r\n"
ASKED = {"0": Published(Source.MICROPHONE)}


def offer(order: str, direction: str, more: str = "") -> str:
    return ends.HEAD.format(mids="0", setup="active") + LINES.format(order=order, direction=direction) + more


@pytest.mark.parametrize(
    ("blocks", "agreed"), [("111/111", True), ("111", True), ("111/111/111", True), ("111/0", False), ("", False), ("96/96", False)]
)
def test_it_is_agreed_on_where_it_carries_the_opus_of_its_line(blocks: str, agreed: bool) -> None:
    plan = read(offer("63 111", "sendonly", REDUNDANT.format(blocks=blocks)), ASKED, frozenset(("audio",)))
    assert [f.name for f in plan.lines[0].formats] == (["red", "opus"] if agreed else ["opus"])


def test_redundancy_of_nothing_is_no_codec() -> None:
    only = ends.HEAD.format(mids="0", setup="active")
    only += "m=audio 9 UDP/TLS/RTP/SAVPF 63\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\n" + REDUNDANT.format(blocks="63/63")
    with pytest.raises(MediaError):
        read(only, ASKED, frozenset(("audio",)))


async def test_each_subscriber_is_given_what_it_agreed_on() -> None:
    async with ends.relay() as relay:
        sender, both, plain, other = (ends.End(relay, name) for name in ("a", "b", "c", "d"))
        answered = sender.peer.negotiate(offer("63 111", "sendonly", REDUNDANT.format(blocks="111/111")), ASKED, {})
        # The order is the offer's, by which browsers choose what they send.
        assert "m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\n" in answered
        assert "a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n" in answered
        (track,) = relay.tracks("r")
        wishes = ((both, "111 63", REDUNDANT.format(blocks="111/111")), (plain, "111", ""), (other, "96 63", OTHER))
        for end, order, more in wishes:
            answered = end.peer.negotiate(offer(order, "recvonly", more), {}, {"0": track.id})
            assert ("red/48000" in answered) == bool(more)
        ways = [end.peer.slots["0"].forwarder for end in (both, plain, other)]
        assert [(way.payload_types[63], way.payload_types[111], way.red) for way in ways] == [(63, 111, 0), (0, 111, 63), (0, 96, 63)]


OTHER = "a=rtpmap:96 opus/48000/2\r\n" + REDUNDANT.format(blocks="96/96")


def test_what_is_within_must_be_named_alike() -> None:
    ours, theirs = Format(63, "red", 48000, 2, {"111/111": ""}), Format(97, "red", 48000, 2, {"96/96": ""})
    assert ours.fits(Format(97, "red", 48000, 2, {"111/111": ""}))
    assert not ours.fits(theirs)
