"""One track of a recording: packets in at one end (the event loop), a sealed file at the other (the recording's thread)."""

import hashlib
import logging
import struct
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from telemed.record.depacketize import depacketizer, samples
from telemed.record.frames import Frame
from telemed.record.index import Line
from telemed.record.mp4 import Mp4
from telemed.record.packets import Packet, Reorder, parse
from telemed.record.sealed import SealedReader, SealedWriter
from telemed.record.webm import WebM

log = logging.getLogger(__name__)

RESTART = 5.0  # seconds by which timestamps and arrivals may differ from one frame to the next before it is a new clock
SETTLE = 10.0  # seconds in which the least delayed packet is looked for


def muxer(codec: str) -> type[WebM] | type[Mp4]:
    """WebM holds no H.264."""
    return Mp4 if codec.lower() == "h264" else WebM


class Timeline:
    """RTP timestamps into ticks since the track's first frame: without wrap, never back, going on where the sender began anew."""

    def __init__(self, clock: int) -> None:
        self.clock = clock
        self.ticks = -1
        self.first = 0  # RTP timestamp at which ticks would be 0
        self.offset = 0.0  # arrival of the least delayed packet less its ticks
        self._timestamp = 0
        self._arrival = self._begun = 0.0

    def place(self, frame: Frame) -> bool:
        """Sets `ticks`; False where the sender's clock jumped."""
        same = True
        if self.ticks < 0:
            self.ticks, self.first = 0, frame.timestamp
            self.offset = self._begun = frame.arrival
        else:
            step = (frame.timestamp - self._timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
            passed = frame.arrival - self._arrival
            if abs(step / self.clock - passed) > RESTART:
                same, step = False, int(passed * self.clock)
                self.first = frame.timestamp - self.ticks - step & 0xFFFFFFFF
            # Two frames at one time are one too many for a file.
            self.ticks += max(1, step)
        self._timestamp, self._arrival = frame.timestamp, frame.arrival
        if frame.arrival - self._begun < SETTLE:
            self.offset = min(self.offset, frame.arrival - self.ticks / self.clock)
        return same


class TrackWriter:
    """What Recording.track gives."""

    def __init__(
        self,
        number: int,
        named: dict[str, Any],
        enqueue: Callable[["TrackWriter", bytes | Callable[[], None], float], None],
        note: Callable[[Line], None],
        create: Callable[[str], SealedWriter],
        keyframe: Callable[[str], None] | None,
    ) -> None:
        self.id: str = named["track"]
        self.number = number
        self.open = True
        self._named = named
        self._codec: str = named["codec"]
        self._clock: int = named["clock"]
        self._enqueue, self._note, self._create, self._keyframe = enqueue, note, create, keyframe
        types: Mapping[int, str] | None = named.get("types")
        self._types = {number: name.lower() for number, name in types.items()} if types else None
        self._audio = named["kind"] == "audio"
        # From here on only the thread.
        self._reorder, self._depacketizer, self._timeline = Reorder(), depacketizer(self._codec), Timeline(self._clock)
        self._muxer: WebM | Mp4 | None = None
        self._file: SealedWriter | None = None
        self._sum = hashlib.sha256()
        self._frames = self._keyframes = self._packets = self._malformed = 0
        self._asked = -1e9  # arrival at which a keyframe was last asked for
        self._end = 0.0  # seconds at which the last frame ends
        self._report: tuple[float, int] | None = None
        self._done = False
        self._told = self._synced = 0  # frames and packets at the last flush and sync

    # The event loop's side.

    def write(self, packet: bytes, arrival: float) -> None:
        """One RTP packet as it was decrypted, header and all; kept, not copied. arrival: seconds of the recording's clock. Never waits."""
        if self.open:
            self._enqueue(self, packet, arrival)

    def sender_report(self, ntp: float, rtp: int) -> None:
        """Both clocks of an RTCP sender report (ntp in seconds); what aligns the tracks of one participant better than arrivals do."""
        self._report = ntp, rtp

    def close(self) -> None:
        """No more will come. The file is finished by the thread."""
        if self.open:
            self.open = False
            self._enqueue(self, self.finish, 0.0)

    # The thread's side.

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._file.size if self._file is not None else 0

    def take(self, data: bytes, arrival: float) -> None:
        """One packet out of the queue."""
        packet = parse(data, arrival)
        if packet is None:
            self._malformed += 1
            return
        self._packets += 1
        if self._types is not None:
            name = self._types.get(packet.kind)
            if name is None:
                packet.payload = b""
            elif name != self._codec.lower() and packet.payload:
                packet.payload = b"\0" + packet.payload  # opus as red without redundancy
        self._released(self._reorder.push(packet))

    def tick(self, now: float) -> None:
        """Lets go of what waited long enough, though no packet came."""
        self._released(self._reorder.expire(now))

    def _released(self, packets: list[Packet]) -> None:
        for packet in packets:
            try:
                frames = self._depacketizer.push(packet)
            except (ValueError, IndexError, struct.error):
                self._depacketizer.malformed += 1
                continue
            for frame in frames:
                self._frame(frame)
            if self._depacketizer.waiting and self._keyframe is not None and packet.arrival - self._asked > 1:
                self._asked = packet.arrival
                try:
                    self._keyframe(self.id)
                except Exception:
                    log.exception("nobody could be asked for a keyframe of track %s", self.id)

    def _frame(self, frame: Frame) -> None:
        if self._file is None:
            self._begin(frame)
        assert self._muxer is not None
        line = self._timeline
        same = line.place(frame)
        if not same:
            self._report = None
        at = line.ticks / self._clock
        if self._frames and (frame.broken or not same) and at > self._end:
            self._note(
                {"track": self.number, "gap": {"from": round(self._end, 3), "to": round(at, 3), "why": "lost" if same else "restart"}}
            )
        self._put(self._muxer.frame(frame, line.ticks))
        self._frames += 1
        self._keyframes += frame.key
        self._end = at + (samples(frame.data) / 48_000 if self._audio else 0.0)

    def _begin(self, frame: Frame) -> None:
        name = f"{self.number + 1:02d}-{self._named['kind']}{muxer(self._codec).suffix}"
        self._file = self._create(name)
        self._muxer = muxer(self._codec)(self._codec, self._clock, self._named["begun"])
        self._put(self._muxer.begin(frame))
        about = {"width": frame.width, "height": frame.height} if not self._audio else {}
        self._note({"track": self.number, "set": {"file": name, "state": self._muxer.state(), **about, **self._counts()}})

    def _put(self, data: bytes) -> None:
        if data:
            assert self._file is not None
            self._sum.update(data)
            self._file.append(data)

    def flush(self) -> None:
        """Writes what there is, as something that can be played up to here."""
        if self._muxer is not None and not self._done and self._frames != self._told:
            self._told = self._frames
            self._put(self._muxer.flush())
            cues = self._muxer.new_cues()
            self._note({"track": self.number, "set": {"seconds": round(self._end, 3)}} | ({"cues": cues} if cues else {}))

    def sync(self) -> None:
        """To the disk, with the counts until here."""
        if not self._done:
            if self._file is not None:
                self._file.sync()
            if self._packets != self._synced:
                self._synced = self._packets
                self._note({"track": self.number, "set": self._counts()})

    def _counts(self) -> dict[str, Any]:
        d, line = self._depacketizer, self._timeline
        out: dict[str, Any] = {
            "arrived": round(line.offset - self._named["origin"], 4),
            "rtp": line.first,
            "frames": self._frames,
            "keyframes": self._keyframes,
            "packets": self._packets,
            "lost": self._reorder.lost,
            "late": self._reorder.late,
            "malformed": d.malformed + self._malformed,
            "left_out": d.dropped,
        }
        return out | ({"report": self._report} if self._report is not None else {})

    def finish(self) -> None:
        """The end of the file, and what is told of it."""
        if self._done:
            return
        self.open = False
        self._released(self._reorder.flush())
        done: dict[str, Any] = {**self._counts(), "seconds": round(self._end, 3), "closed": True}
        if self._muxer is not None and self._file is not None:
            rest, patches = self._muxer.finish()
            self._sum.update(rest)
            self._file.finish(rest)
            done |= finished(patches, self._file.length, self._sum.hexdigest())
        self._done = True
        self._note({"track": self.number, "set": done})

    def abandon(self) -> None:
        """After an error of the disk: closes without an end, `recover` can give it one."""
        self.open, self._done = False, True
        if self._file is not None:
            self._file.close()


def finished(patches: list[tuple[int, bytes]], length: int, digest: str) -> dict[str, Any]:
    """What the index says of a whole file: its plain bytes, their SHA-256, and what `play` writes over them."""
    return {"bytes": length, "sha256": digest, "patches": [[at, data.hex()] for at, data in patches]}


def finish_after_crash(path: Path, key: bytes, track: dict[str, Any]) -> dict[str, Any]:
    """Gives a file that its writer left behind an end. Raises SealedError, OSError."""
    made = muxer(track["codec"])(track["codec"], track["clock"], datetime.fromisoformat(track["begun"]))
    patches: list[tuple[int, bytes]] = []
    with SealedReader(path, key) as reader:
        complete, length = reader.complete, reader.starts[-1] if reader.complete else 0
        last = reader.chunk(len(reader.starts) - 1) if complete else b""
    writer = None if complete else SealedWriter.reopen(path, key)
    if writer is not None:
        length = writer.length
    rest = b""
    if "state" in track:
        made.restore(track["state"], [(a, b) for a, b in track["cues"]], length, track.get("seconds", 0.0))
        rest, patches = made.finish()
    if writer is not None:
        writer.finish(rest)
    elif rest != last:
        patches = []  # it was finished with more than the journal knows of: it plays, but is not led through by cues
    digest = hashlib.sha256()
    with SealedReader(path, key) as reader:
        for piece in reader.read():
            digest.update(piece)
        length = reader.length
    return {**finished(patches, length, digest.hexdigest()), "closed": True}
