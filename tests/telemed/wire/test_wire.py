"""STUN, RTP, RTCP and SDP: what is built reads back, RFC examples hold, and no bytes bring out anything but the named error."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from telemed.relay.twcc import FeedbackBuilder
from telemed.wire import rtcp, rtp, sdp, stun
from telemed.wire.errors import WireError

OFFER = """v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=msid-semantic: WMS s
m=audio 9 UDP/TLS/RTP/SAVPF 111 63
c=IN IP4 0.0.0.0
a=ice-ufrag:abcd
a=ice-pwd:0123456789012345678901
a=fingerprint:sha-256 AA:BB
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=sendonly
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=ice-ufrag:abcd
a=ice-pwd:0123456789012345678901
a=fingerprint:sha-256 AA:BB
a=setup:actpass
a=mid:1
a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id
a=sendonly
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rid:q send
a=rid:h send
a=simulcast:send q;~h
a=ssrc-group:FID 1 2
a=ssrc:1 cname:x
a=ssrc:2 cname:x
"""


def mutations(seed: bytes, count: int = 3000) -> list[bytes]:
    chance = random.Random(8)
    out = []
    for _ in range(count):
        data = bytearray(seed)
        for _ in range(chance.randint(1, 6)):
            what = chance.random()
            if what < 0.6 and data:
                data[chance.randrange(len(data))] = chance.randrange(256)
            elif what < 0.8:
                del data[chance.randrange(len(data) + 1):]
            else:
                data += chance.randbytes(chance.randint(1, 40))
        out.append(bytes(data))
    return out


def test_an_offer_is_read() -> None:
    audio, video = sdp.parse(OFFER).media
    assert (audio.mid, audio.direction, audio.rtcp_mux, audio.ufrag) == ("0", "sendonly", True, "abcd")
    assert audio.codecs[0] == sdp.Codec(111, "opus", 48000, 2, {"minptime": "10", "useinbandfec": "1"}, ["transport-cc"])
    assert video.simulcast_send == ["q", "h"]
    assert video.ssrc_groups == [("FID", [1, 2])]
    assert video.codecs[1].fmtp == {"apt": "96"}


@pytest.mark.parametrize("line", [
    "m=audio x RTP/SAVPF 0", "a=fingerprint:sha-256",
    "m=audio 70000 RTP/SAVPF 0", "m=audio 9 RTP/SAVPF 128", "nonsense",
])
def test_a_line_that_cannot_be_read_is_named(line: str) -> None:
    with pytest.raises(sdp.SdpError, match="line 5"):
        sdp.parse("v=0\no=-\ns=-\nt=0 0\n" + line)


def test_no_description_brings_out_another_error() -> None:
    for data in mutations(OFFER.encode(), 600):
        try:
            sdp.parse(data.decode("utf-8", "replace"))
        except sdp.SdpError:
            pass


# RFC 5769 2.1: a sample request with its password.
SAMPLE = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff80290008932ff9b151263b36"
    "0006000965 76746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf".replace(" ", "")
)
PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"


def test_the_sample_request_of_rfc_5769() -> None:
    message = stun.parse(SAMPLE)
    assert message.username == "evtj:h6vY"
    assert message.authentic(PASSWORD)
    assert not message.authentic(b"another")


def test_an_answer_reads_back() -> None:
    request = stun.parse(SAMPLE)
    for host in ("192.0.2.1", "2001:db8::5"):
        answer = stun.parse(stun.success(request, host, 32853, PASSWORD))
        assert answer.kind == stun.SUCCESS
        assert answer.authentic(PASSWORD)
        assert stun.unmapped(answer.attributes[stun.XOR_MAPPED_ADDRESS], answer.transaction) == (host, 32853)


def packets() -> list[Any]:
    block = rtcp.ReportBlock(7, 12, -3, 0x10005, 90, 1, 2)
    return [
        rtcp.SenderReport(1, 2**63 + 5, 3, 4, 5, [block]), rtcp.ReceiverReport(1, [block, block]), rtcp.Bye([1, 2]),
        rtcp.Nack(1, 2, [65534, 65535, 0, 15, 100]), rtcp.Pli(1, 2), rtcp.Fir(1, [(2, 3)]), rtcp.Remb(1, 1_000_000, [5, 6]),
    ]


def test_rtcp_reads_back() -> None:
    for packet in packets():
        (found,) = rtcp.parse(packet.build())
        if isinstance(packet, rtcp.Remb):
            assert abs(found.bitrate - packet.bitrate) < 8  # type: ignore[union-attr]
        else:
            assert found == packet
    assert len(rtcp.parse(rtcp.compound(*packets()))) == len(packets())


def test_transport_feedback_reads_back() -> None:
    builder = FeedbackBuilder()
    for n in (65533, 65534, 0, 1, 5):
        builder.record(n, 5_000_000 + (n & 0xFF) * 1000)
    (packet,) = rtcp.parse(builder.take(1, 2)[0])
    assert isinstance(packet, rtcp.TransportFeedback)
    assert [s for s, at in packet.arrivals if at is not None] == [65533, 65534, 0, 1, 5]
    assert [s for s, at in packet.arrivals if at is None] == [65535, 2, 3, 4]


def whole(data: bytes) -> object:
    header = rtp.parse(data)
    return rtp.extensions(data, header)


RTP = bytes.fromhex("9060000100000002deadbeef" + "bede0002" + "100a" + "51abcd" + "000000") + b"payload"


def test_extensions_are_read() -> None:
    assert {k: bytes(v) for k, v in rtp.extensions(RTP, rtp.parse(RTP)).items()} == {1: b"\x0a", 5: b"\xab\xcd"}


@pytest.mark.parametrize(("read", "seed"), [
    (whole, RTP), (rtcp.parse, b"".join(p.build() for p in packets())), (stun.parse, SAMPLE),
])
def test_no_bytes_bring_out_another_error(read: Callable[[bytes], object], seed: bytes) -> None:
    for data in mutations(seed):
        try:
            read(data)
        except WireError:
            pass


@pytest.mark.parametrize("size", range(8, 40, 4))
@pytest.mark.parametrize("padding", [None, 0, 1, 4, 12, 36, 40, 255])
def test_feedback_that_stands_alone_is_what_the_list_of_packets_has(size: int, padding: int | None) -> None:
    head = bytes([0x8F if padding is None else 0xAF, rtcp.RTPFB]) + (size // 4 - 1).to_bytes(2)
    data = head + bytes(size - 5) + bytes([padding or 0])
    body = rtcp.feedback_alone(data)
    if size < 12:
        assert body is None
    elif body is None:
        with pytest.raises(WireError, match="padding"):
            rtcp.parse(data, raw=True)
    else:
        assert rtcp.parse(data, raw=True) == [rtcp.RawFeedback(body)]
    assert rtcp.feedback_alone(data + data) is None
    assert rtcp.feedback_alone(data[:-1]) is None
    assert rtcp.feedback_alone(bytes([data[0] ^ 1]) + data[1:]) is None
