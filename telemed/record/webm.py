"""WebM (Matroska, RFC 9559): one track a file, written forward only, and whole after every cluster.

The segment's length, its duration and the place of the cues are known at the end only. Room is kept for them, and `finish` says
what belongs there, for whoever writes a plain file (a sealed one is never written over). A file without them plays all the same.
"""

import struct
from datetime import UTC, datetime
from typing import Any

from telemed.record.depacketize import samples
from telemed.record.frames import Frame

EBML, SEGMENT, CLUSTER, CUES, VOID = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0x1C53BB6B, 0xEC
SEEK_HEAD, SEEK, SEEK_ID, SEEK_POSITION = 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
INFO, SCALE, DURATION, DATE, MUXING, WRITING = 0x1549A966, 0x2AD7B1, 0x4489, 0x4461, 0x4D80, 0x5741
TRACKS, TIMESTAMP, SIMPLE_BLOCK = 0x1654AE6B, 0xE7, 0xA3
UNKNOWN = b"\x01" + b"\xff" * 7
CODECS = {"opus": "A_OPUS", "red": "A_OPUS", "vp8": "V_VP8", "vp9": "V_VP9", "av1": "V_AV1"}
CLUSTER_MAX = 4 << 20  # bytes; one is one chunk of the sealed file
SPAN = 30_000  # ms a cluster may last: a block's time within it has 16 bits with sign
SEEK_ROOM = 32  # bytes of a SeekHead with one entry and eight bytes of position
EPOCH = datetime(2001, 1, 1, tzinfo=UTC)


def size(value: int) -> bytes:
    """A length, as short as it goes (RFC 8794 4)."""
    for width in range(1, 9):
        if value < (1 << 7 * width) - 1:
            return (value | 1 << 7 * width).to_bytes(width, "big")
    raise ValueError("an element of that length cannot be written")


def element(name: int, content: bytes | int | str | float) -> bytes:
    """One element: bytes as they are, numbers as unsigned or as a double."""
    if isinstance(content, int):
        content = content.to_bytes(max(1, (content.bit_length() + 7) // 8), "big")
    elif isinstance(content, str):
        content = content.encode()
    elif isinstance(content, float):
        content = struct.pack(">d", content)
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + size(len(content)) + content


def void(length: int) -> bytes:
    """Room for later: `length` bytes in all, 2 to 128."""
    return element(VOID, bytes(length - 2))


def opus_head(channels: int = 2, pre_skip: int = 0) -> bytes:
    """RFC 7845 5.1. RTP does not tell the encoder's delay, so nothing is skipped."""
    return b"OpusHead" + struct.pack("<BBHIhB", 1, channels, pre_skip, 48_000, 0, 0)


class WebM:
    """Makes the bytes; `frame` and `flush` return what is to be appended."""

    suffix = ".webm"

    def __init__(self, codec: str, clock: int, started: datetime) -> None:
        self._codec, self._clock, self._started = codec.lower(), clock, started
        self._blocks: list[tuple[int, bytes]] = []  # (ms, element) of the open cluster
        self._keys: list[int] = []  # ms of keyframes in it
        self._size = 0  # bytes of it
        self._position = 0  # bytes written
        self._places: dict[str, int] = {}
        self._cues: list[tuple[int, int]] = []  # (ms, cluster's position in the file)
        self._end = 0  # ms
        self._told = 0  # cues given by new_cues
        self.begun = False

    def begin(self, frame: Frame) -> bytes:
        """What comes before the first frame. For video it is a keyframe."""
        head = b"".join(
            element(name, value)
            for name, value in ((0x4286, 1), (0x42F7, 1), (0x42F2, 4), (0x42F3, 8), (0x4282, "webm"), (0x4287, 4), (0x4285, 2))
        )
        out = bytearray(element(EBML, head) + SEGMENT.to_bytes(4, "big"))
        self._places["length"] = len(out)
        out += UNKNOWN
        self._places["seek"] = len(out)
        out += void(SEEK_ROOM)
        nanoseconds = int((self._started - EPOCH).total_seconds() * 1e9)
        info = (
            element(SCALE, 1_000_000)
            + element(DATE, struct.pack(">q", nanoseconds))
            + element(MUXING, "telemed")
            + element(WRITING, "telemed")
        )
        info_head = element(INFO, info + void(11))
        self._places["duration"] = len(out) + len(info_head) - 11
        out += info_head
        out += element(TRACKS, element(0xAE, self._entry(frame)))
        self._position, self.begun = len(out), True
        return bytes(out)

    def _entry(self, frame: Frame) -> bytes:
        """A TrackEntry."""
        # Number, UID, no lacing, codec; language "und": nobody said what is spoken.
        out = element(0xD7, 1) + element(0x73C5, 1) + element(0x9C, 0) + element(0x22B59C, "und") + element(0x86, CODECS[self._codec])
        if self._codec in ("opus", "red"):
            # SeekPreRoll 80 ms (RFC 7845 4.6), CodecDelay 0.
            out += element(0x83, 2) + element(0x56AA, 0) + element(0x56BB, 80_000_000) + element(0x63A2, opus_head())
            return out + element(0xE1, element(0xB5, 48_000.0) + element(0x9F, 2))
        out += element(0x83, 1) + element(0xE0, element(0xB0, frame.width) + element(0xBA, frame.height))
        return out + element(0x63A2, frame.config) if frame.config else out

    def frame(self, frame: Frame, ticks: int) -> bytes:
        """ticks: since the track's begin, in its clock; never smaller than the last."""
        ms = ticks * 1000 // self._clock
        out = b""
        video = self._codec not in ("opus", "red")
        # A cluster for each keyframe, so that the cues lead to it and nothing has to be read before.
        if self._blocks and (ms - self._blocks[0][0] > SPAN or (video and frame.key)):
            out = self.flush()
        start = self._blocks[0][0] if self._blocks else ms
        block = element(SIMPLE_BLOCK, b"\x81" + struct.pack(">hB", ms - start, 0x80 if frame.key else 0) + frame.data)
        if frame.key and (video or not self._blocks):
            self._keys.append(ms)
        self._blocks.append((ms, block))
        self._size += len(block)
        self._end = ms + (0 if video else 1000 * samples(frame.data) // 48_000)
        return out + self.flush() if self._size > CLUSTER_MAX else out

    def flush(self) -> bytes:
        """The cluster as far as it goes."""
        if not self._blocks:
            return b""
        start = self._blocks[0][0]
        out = element(CLUSTER, element(TIMESTAMP, start) + b"".join([block for _, block in self._blocks]))
        for ms in self._keys:
            if not self._cues or self._codec not in ("opus", "red") or ms - self._cues[-1][0] >= 10_000:
                self._cues.append((ms, self._position))
        self._blocks, self._keys, self._size = [], [], 0
        self._position += len(out)
        return out

    def finish(self) -> tuple[bytes, list[tuple[int, bytes]]]:
        """(the rest, [(position, what belongs there)])."""
        out = self.flush()
        if not self.begun:
            return out, []
        segment = self._places["seek"]
        patches = [(self._places["duration"], element(DURATION, float(self._end)))]
        if self._cues:
            # CueTime; CueTrackPositions: track, cluster.
            points = (
                element(0xBB, element(0xB3, ms) + element(0xB7, element(0xF7, 1) + element(0xF1, at - segment))) for ms, at in self._cues
            )
            seek = element(
                SEEK, element(SEEK_ID, CUES.to_bytes(4, "big")) + element(SEEK_POSITION, struct.pack(">Q", self._position - segment))
            )
            head = element(SEEK_HEAD, seek)
            patches.append((segment, head + void(SEEK_ROOM - len(head))))
            cues = element(CUES, b"".join(points))
            out += cues
            self._position += len(cues)
        patches.append((self._places["length"], (self._position - segment | 1 << 56).to_bytes(8, "big")))
        return out, patches

    def state(self) -> dict[str, Any]:
        """What `restore` needs after a crash, but for the cues, which `new_cues` gives once each."""
        return {"places": self._places}

    def new_cues(self) -> list[tuple[int, int]]:
        out, self._told = self._cues[self._told :], len(self._cues)
        return out

    def restore(self, state: dict[str, Any], cues: list[tuple[int, int]], length: int, seconds: float) -> None:
        """Ready to `finish` a file of that length and duration."""
        self._places, self._end, self._position, self.begun = state["places"], int(seconds * 1000), length, True
        self._cues = [(ms, at) for ms, at in cues if at < length]
