"""Encoded pictures and sound as RTP packets, made with PyAV and packetized by aiortc where it can, and what PyAV finds in a file."""

import fractions
import random
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import av
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.opus import OpusEncoder
from aiortc.codecs.vpx import Vp8Encoder
from av.packet import Packet

WIDTH, HEIGHT, RATE = 160, 120, 30
KEY = b"a key for tests, not for patients"


def picture(n: int, width: int = WIDTH, height: int = HEIGHT) -> av.VideoFrame:
    """Different from one number to the next, and not empty."""
    frame = av.VideoFrame(width, height, "yuv420p")
    for i, plane in enumerate(frame.planes):
        if width > WIDTH:  # noise: a keyframe takes several packets
            plane.update(random.Random(n).randbytes(plane.buffer_size))
            continue
        line = bytes((x * 3 + n * 7 + i * 50) & 255 for x in range(plane.line_size))
        plane.update(b"".join(line[(y * n) % 40 :] + line[: (y * n) % 40] for y in range(plane.height))[: plane.buffer_size])
    frame.pts, frame.time_base = n, fractions.Fraction(1, RATE)
    return frame


@cache
def encoded(codec: str, count: int, every: int = 15, width: int = WIDTH, height: int = HEIGHT) -> tuple[bytes, ...]:
    """Frames as the encoder gives them; a keyframe every `every`."""
    name = {"VP8": "libvpx", "VP9": "libvpx-vp9", "H264": "libx264", "AV1": "libsvtav1"}[codec]
    made: Any = av.CodecContext.create(name, "w")
    made.width, made.height, made.pix_fmt = width, height, "yuv420p"
    made.bit_rate = 0 if codec == "AV1" else 400_000
    made.time_base, made.framerate = fractions.Fraction(1, RATE), fractions.Fraction(RATE, 1)
    made.gop_size = every
    made.thread_count = 1
    made.options = {
        "VP8": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "error-resilient": "1"},
        "VP9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
        "H264": {"tune": "zerolatency", "preset": "ultrafast", "profile": "baseline"},
        "AV1": {"preset": "12", "crf": "45", "svtav1-params": f"pred-struct=1:keyint={every}:lp=1:scd=0"},
    }[codec]
    out = []
    for n in range(count):
        out += [bytes(p) for p in made.encode(picture(n, width, height))]
    out += [bytes(p) for p in made.encode(None)]
    return tuple(out)


def rtp(sequence: int, timestamp: int, payload: bytes, marker: bool = False, ssrc: int = 0x1234, extension: bool = True) -> bytes:
    """With a one-byte header extension, as browsers send, so that its length is heeded."""
    head = struct.pack(">BBHII", 0x90 if extension else 0x80, 96 | marker << 7, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
    return head + (b"\xbe\xde\x00\x01\x10\x7f\x00\x00" if extension else b"") + payload


def vp9_payloads(frame: bytes, picture_id: int, key: bool) -> list[bytes]:
    """RFC 9628 in flexible mode, with the scalability structure in keyframes."""
    out = []
    pieces = [frame[i : i + 900] for i in range(0, len(frame), 900)]
    for i, piece in enumerate(pieces):
        start, end = i == 0, i == len(pieces) - 1
        flags = 0x80 | (0 if key else 0x40) | 0x10 | start << 3 | end << 2 | (key and start) << 1
        head = bytes([flags, 0x80 | picture_id >> 8 & 127, picture_id & 255])
        if not key:
            head += b"\x02"  # refers to the picture before
        if key and start:
            head += bytes([0x10]) + struct.pack(">HH", WIDTH, HEIGHT)
        out.append(head + piece)
    return out


def obus(unit: bytes) -> list[bytes]:
    """The OBUs of a temporal unit without size fields and delimiter, as RTP wants them."""
    out, at = [], 0
    while at < len(unit):
        head, at = unit[at], at + 1
        assert head & 2
        length = shift = 0
        while True:
            byte, at = unit[at], at + 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if head >> 3 & 15 != 2:
            out.append(bytes([head & ~2]) + unit[at : at + length])
        at += length
    return out


def leb(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + leb(value >> 7)


def av1_payloads(unit: bytes, mtu: int = 300) -> list[bytes]:
    """The AV1 RTP format with W = 0 (every element has its length), fragments where an OBU does not fit."""
    out: list[bytes] = []
    sent = obus(unit)
    key = any(o[0] >> 3 & 15 == 1 for o in sent)
    open_, continues = b"", False
    for o in sent:
        while len(open_) + len(o) > mtu:
            room = max(1, mtu - len(open_))
            out.append(bytes([continues << 7 | 0x40 | (key and not out) << 3]) + open_ + leb(room) + o[:room])
            o, open_, continues = o[room:], b"", True
        open_ += leb(len(o)) + o
    out.append(bytes([continues << 7 | (key and not out) << 3]) + open_)
    return out


@dataclass
class Sent:
    """A packet and when it arrives."""

    data: bytes
    arrival: float
    frame: int  # it belongs to


def video(codec: str, count: int = 45, sequence: int = 65_500, timestamp: int = 0xFFFFF000, every: int = 15, **size: int) -> list[Sent]:
    """Packets of a moving picture; both counters wrap soon by default."""
    out: list[Sent] = []
    packers: dict[str, Any] = {"VP8": Vp8Encoder(), "H264": H264Encoder()}
    for n, frame in enumerate(encoded(codec, count, every, **size)):
        if codec in packers:
            packet = Packet(frame)
            packet.pts, packet.time_base = n, fractions.Fraction(1, RATE)
            payloads, _ = packers[codec].pack(packet)
            if codec == "VP8":
                packers[codec].picture_id += 1
        elif codec == "VP9":
            payloads = vp9_payloads(frame, n, not frame[0] >> 2 & 1)
        else:
            payloads = av1_payloads(frame)
        for i, payload in enumerate(payloads):
            data = rtp(sequence + len(out), timestamp + n * 90_000 // RATE, payload, i == len(payloads) - 1)
            out.append(Sent(data, 100 + n / RATE, n))
    return out


@cache
def opus_payloads(count: int) -> tuple[bytes, ...]:
    """Frames of 20 ms of a tone."""
    encoder, out = OpusEncoder(), []
    for n in range(count):
        frame = av.AudioFrame(format="s16", layout="stereo", samples=960)
        frame.planes[0].update(b"".join(struct.pack("<hh", *[int(8000 * ((n * 960 + i) % 100 / 50 - 1))] * 2) for i in range(960)))
        frame.pts, frame.sample_rate, frame.time_base = n * 960, 48_000, fractions.Fraction(1, 48_000)
        out += encoder.encode(frame)[0]
    return tuple(out)


def audio(count: int = 75, sequence: int = 65_500, timestamp: int = 0xFFFFF000) -> list[Sent]:
    return [Sent(rtp(sequence + n, timestamp + n * 960, p), 100 + n / 50, n) for n, p in enumerate(opus_payloads(count))]


@dataclass
class Seen:
    """What PyAV makes of a file."""

    codec: str
    times: list[float]  # seconds of the decoded frames
    width: int
    samples: int
    duration: float  # as the file's header tells, 0 where it does not


def decode(path: Path) -> Seen:
    """Decodes all of it; an error in it raises."""
    with av.open(str(path)) as file:
        stream = file.streams[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"err_detect": "explode"}
        times, width, samples = [], 0, 0
        for frame in file.decode(stream):
            times.append(float(frame.time or 0))
            width = getattr(frame, "width", 0)
            samples += getattr(frame, "samples", 0)
        return Seen(stream.codec_context.name, times, width, samples, (file.duration or 0) / 1e6)
