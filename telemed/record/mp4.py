"""Fragmented MP4 (ISO 14496-12 and -15) for H.264: one track a file, written forward only, and whole after every fragment."""

import struct
from datetime import UTC, datetime
from typing import Any

from telemed.record.frames import Frame

EPOCH = datetime(1904, 1, 1, tzinfo=UTC)
MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
SYNC, DEPENDS = 0x02000000, 0x01010000  # sample flags
FRAGMENT_MAX = 4 << 20  # bytes; one is one chunk of the sealed file
GUESS = 1 / 30  # seconds a frame is taken to last before a second one came


def box(name: str, *content: bytes) -> bytes:
    length = 8 + sum(map(len, content))
    return struct.pack(">I4s", length, name.encode()) + b"".join(content)


def full(name: str, version: int, flags: int, *content: bytes) -> bytes:
    return box(name, struct.pack(">I", version << 24 | flags), *content)


class Mp4:
    """Makes the bytes; `frame` and `flush` return what is to be appended."""

    suffix = ".mp4"

    def __init__(self, codec: str, clock: int, started: datetime) -> None:
        self._clock, self._started = clock, started
        self._samples: list[tuple[int, Frame]] = []  # (ticks, frame) of the open fragment
        self._position = self._duration_at = 0
        self._fragments = 0
        self._cues: list[tuple[int, int]] = []  # (ticks, fragment's position) of those that begin with a keyframe
        self._last = int(clock * GUESS)  # how long the last frame lasted
        self._end = self._size = 0
        self._told = 0  # cues given by new_cues
        self.begun = False

    def begin(self, frame: Frame) -> bytes:
        """File type and movie header, from the first keyframe."""
        when = int((self._started - EPOCH).total_seconds())
        ftyp = box("ftyp", b"iso6", struct.pack(">I", 0), b"iso6", b"mp41")
        # avc3: parameter sets may change within the stream, as when a phone is turned.
        avc = box(
            "avc3",
            bytes(6),
            struct.pack(">H16x2H2II H32xHh", 1, frame.width, frame.height, 0x480000, 0x480000, 0, 1, 24, -1),
            box("avcC", frame.config),
        )
        empty = struct.pack(">I", 0)
        stbl = box(
            "stbl", full("stsd", 0, 0, struct.pack(">I", 1), avc), full("stts", 0, 0, empty), full("stsc", 0, 0, empty),
            full("stsz", 0, 0, empty, empty), full("stco", 0, 0, empty),
        )  # fmt: skip
        dinf = box("dinf", full("dref", 0, 0, struct.pack(">I", 1), full("url ", 0, 1)))
        mdia = box(
            "mdia",
            full("mdhd", 1, 0, struct.pack(">QQIQHH", when, when, self._clock, 0, 0x55C4, 0)),  # language "und"
            full("hdlr", 0, 0, struct.pack(">I4s12x", 0, b"vide"), b"telemed\0"),
            box("minf", full("vmhd", 0, 1, bytes(8)), dinf, stbl),
        )
        tkhd = full(
            "tkhd",
            1,
            3,
            struct.pack(">QQIIQ8xhhhH", when, when, 1, 0, 0, 0, 0, 0, 0),
            MATRIX,
            struct.pack(">II", frame.width << 16, frame.height << 16),
        )
        mvhd = full(
            "mvhd", 1, 0, struct.pack(">QQIQIH10x", when, when, self._clock, 0, 0x10000, 0x100), MATRIX, bytes(24), struct.pack(">I", 2)
        )
        mehd = full("mehd", 1, 0, struct.pack(">Q", 0))
        trex = full("trex", 0, 0, struct.pack(">5I", 1, 1, 0, 0, DEPENDS))
        moov = box("moov", mvhd, box("trak", tkhd, mdia), box("mvex", mehd, trex))
        out = ftyp + moov
        self._duration_at = len(out) - len(trex) - 8
        self._position, self.begun = len(out), True
        return out

    def frame(self, frame: Frame, ticks: int) -> bytes:
        """ticks: since the track's begin, in its clock; larger than the last."""
        out = self.flush(ticks) if frame.key or self._size > FRAGMENT_MAX else b""
        if self._samples:
            self._last = max(1, ticks - self._samples[-1][0])
        self._samples.append((ticks, frame))
        self._size += len(frame.data)
        return out

    def flush(self, following: int = 0) -> bytes:
        """The fragment as far as it goes. following: ticks of the next frame where they are known."""
        if not self._samples:
            return b""
        times = [ticks for ticks, _ in self._samples]
        # How long the last one lasts is told by the next fragment's time; until then as long as the one before, but no pause.
        times.append(following or times[-1] + min(self._last, self._clock))
        trun = b"".join(
            struct.pack(">III", max(1, b - a), len(frame.data), SYNC if frame.key else DEPENDS)
            for a, b, (_, frame) in zip(times, times[1:], self._samples, strict=False)
        )
        self._fragments += 1
        count = len(self._samples)
        tfhd, tfdt = full("tfhd", 0, 0x020000, struct.pack(">I", 1)), full("tfdt", 1, 0, struct.pack(">Q", times[0]))
        mfhd = full("mfhd", 0, 0, struct.pack(">I", self._fragments))
        length = len(mfhd) + len(tfhd) + len(tfdt) + 8 + 8 + 12 + 8 + len(trun)
        moof = box("moof", mfhd, box("traf", tfhd, tfdt, full("trun", 0, 0x701, struct.pack(">Ii", count, length + 8), trun)))
        out = moof + box("mdat", *[frame.data for _, frame in self._samples])
        if self._samples[0][1].key:
            self._cues.append((times[0], self._position))
        self._position += len(out)
        self._end = times[-1]
        self._samples, self._size = [], 0
        return out

    def finish(self) -> tuple[bytes, list[tuple[int, bytes]]]:
        """(the rest, [(position, what belongs there)])."""
        out = self.flush()
        if not self.begun:
            return out, []
        entries = b"".join(struct.pack(">QQBBB", ticks, at, 1, 1, 1) for ticks, at in self._cues)
        tfra = full("tfra", 1, 0, struct.pack(">III", 1, 0, len(self._cues)), entries)
        return out + box("mfra", tfra, full("mfro", 0, 0, struct.pack(">I", 8 + len(tfra) + 16))), [
            (self._duration_at, struct.pack(">Q", self._end))
        ]

    def state(self) -> dict[str, Any]:
        """What `restore` needs after a crash, but for the cues, which `new_cues` gives once each."""
        return {"duration": self._duration_at}

    def new_cues(self) -> list[tuple[int, int]]:
        out, self._told = self._cues[self._told :], len(self._cues)
        return out

    def restore(self, state: dict[str, Any], cues: list[tuple[int, int]], length: int, seconds: float) -> None:
        """Ready to `finish` a file of that length and duration."""
        self._duration_at, self._end, self._position, self.begun = state["duration"], int(seconds * self._clock), length, True
        self._cues = [(ticks, at) for ticks, at in cues if at < length]
