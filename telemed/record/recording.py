"""A recording of one consultation: who agreed, its tracks, its limits, and the thread that writes."""

import asyncio
import errno
import fcntl
import json
import logging
import os
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self

from telemed.ports import Kind
from telemed.record.align import align
from telemed.record.index import INDEX, JOURNAL, Index, Line, fold, folders, read_index, read_journal, sync_folder, write_index
from telemed.record.sealed import SealedError, SealedWriter
from telemed.record.track import TrackWriter, finish_after_crash

log = logging.getLogger(__name__)

BATCH = 0.25  # seconds between looks at the queue
FLUSH = 0.7  # seconds between writes of a track: with BATCH within the second that a crash may cost
SYNC = 5.0  # seconds between fsyncs: what a power failure may cost
TURN = 32  # packets in one go, some 0.2 ms
COST = 150  # bytes of memory a waiting packet takes beside its own
QUEUE_MAX = 32 << 20  # bytes that may wait for a slow disk
AHEAD = timedelta(minutes=5)  # a consent's clock may be that far ahead


class ConsentMissing(Exception):
    """Somebody in the room has not agreed to be recorded: `participants` says who."""

    def __init__(self, participants: Sequence[str]) -> None:
        super().__init__(f"no consent to record from {', '.join(participants) or 'anybody'}")
        self.participants = tuple(participants)


class Busy(Exception):
    """The recording is still being written."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A recording that reaches one ends by itself."""

    bytes: int = 8 << 30  # on disk, all tracks
    seconds: float = 4 * 3600
    free: int = 1 << 30  # bytes left to others on the disk
    tracks: int = 100


class Recording:
    """Writes until `stop`, a limit or an error of the disk.

    The constructor checks the consents, then makes the folder and its journal, which waits for the disk: in an event loop use
    `await Recording.start(...)`.
    All other methods return at once and are for one thread, the event loop's.
    """

    def __init__(
        self,
        folder: Path,
        key: bytes,
        room: str,
        consent: Mapping[str, datetime | None],
        *,
        limits: Limits | None = None,
        zone: tzinfo | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_end: Callable[[str], None] | None = None,
        on_keyframe: Callable[[str], None] | None = None,
    ) -> None:
        """consent: everybody in the room with the time (with zone) at which they agreed, None for who has not.

        folder: made, or empty. key: from a setting, at least 16 bytes. zone: of the times in the index, by default the machine's.
        clock: the one `arrival` of packets is read from (that of asyncio loops by default).
        on_end(reason): it ended by itself, with reason "bytes", "seconds", "disk-full" or "disk-error".
        on_keyframe(track): one is needed to go on after a loss. Both are called from the writing thread.

        Raises ConsentMissing, FileExistsError (the folder holds something), OSError, ValueError.
        """
        missing = [who for who, when in consent.items() if when is None]
        if missing or not consent:
            raise ConsentMissing(missing)
        self._consent = {who: self._checked(when) for who, when in consent.items() if when is not None}
        self.folder, self.room, self.id = folder, room, secrets.token_bytes(16)
        self._key, self._limits, self._clock = key, limits or Limits(), clock
        self._on_end, self._on_keyframe = on_end, on_keyframe
        self._zone = zone
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FileExistsError(f"{folder} is not empty")
        if shutil.disk_usage(folder).free < self._limits.free:
            raise OSError(errno.ENOSPC, f"less than {self._limits.free} bytes are free for {folder}")
        self._journal = SealedWriter.create(folder / JOURNAL, key, self.id)
        self._lock = os.open(folder / JOURNAL, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._index: Index = {"version": 1, "participants": [], "tracks": []}
        self._lines: list[Line] = []
        self.started = datetime.now(zone).astimezone(zone)
        self._begun = clock()
        self._note(
            {"set": {"id": self.id.hex(), "room": room, "started": self.started.isoformat(), "zone": str(zone or self.started.tzname())}}
        )
        for who, when in self._consent.items():
            self._note_consent(who, when)
        self._write_journal()
        self._journal.sync()
        sync_folder(folder)

        self._queue: deque[tuple[TrackWriter | None, bytes | Callable[[], None], float]] = deque()
        self._put = self._taken = 0  # bytes in and out of the queue, each counted by one thread only
        self.overrun = 0  # packets thrown away because the disk did not keep up
        self._tracks: list[TrackWriter] = []
        self._size = 0
        self._open = True
        self._reason = "asked"
        self._wake = threading.Event()
        self._result: Future[Index] = Future()
        self._thread = threading.Thread(target=self._run, name=f"record {self.id.hex()[:8]}", daemon=True)
        self._thread.start()

    @classmethod
    async def start(cls, folder: Path, key: bytes, room: str, consent: Mapping[str, datetime | None], **options: Any) -> Self:
        """The constructor, beside the event loop."""
        return await asyncio.to_thread(lambda: cls(folder, key, room, consent, **options))

    @staticmethod
    def _checked(when: datetime) -> datetime:
        if when.tzinfo is None:
            raise ValueError("the time of a consent needs a zone")
        if when > datetime.now(UTC) + AHEAD:
            raise ValueError("a consent from the future is none")
        return when

    # The event loop's side.

    @property
    def running(self) -> bool:
        return self._open

    @property
    def result(self) -> "Future[Index]":
        """Done with the index once it has ended and all is on disk."""
        return self._result

    def joined(self, participant: str, consent: datetime | None) -> None:
        """Somebody came. Raises ConsentMissing without their consent: then they may not be let in, or the recording must stop."""
        if consent is None:
            raise ConsentMissing([participant])
        when = self._checked(consent)
        if participant not in self._consent:
            self._consent[participant] = when
            self._enqueue(None, lambda: self._note_consent(participant, when), 0.0)

    def withdraw(self, participant: str) -> "Future[Index]":
        """Somebody no longer agrees: the recording ends here."""
        return self.stop(f"withdrawn by {participant}")

    def track(
        self,
        track_id: str,
        participant: str,
        kind: Kind,
        codec: str,
        clock: int,
        rids: Sequence[str] = (),
        types: Mapping[int, str] | None = None,
        device: bool = False,
    ) -> TrackWriter:
        """A file to be. codec: opus, red (opus within), VP8, VP9, H264, AV1; one that changes is a new track.

        clock: of the RTP timestamps, Hz. rids: the layers that will be written. types: what each payload type is, where there are several,
        as red beside opus; packets of any other (RTX, telephone events, comfort noise) only count as not lost.
        device: no person, so that nobody but the people in the room can agree to what it shows of them.

        Raises ConsentMissing, ValueError (a codec not ours, too many tracks, an open track of that id), RuntimeError when it has ended.
        """
        if not self._open:
            raise RuntimeError("the recording has ended")
        if participant not in self._consent and not device:
            raise ConsentMissing([participant])
        if len(self._tracks) >= self._limits.tracks:
            raise ValueError(f"a recording has at most {self._limits.tracks} tracks")
        if any(t.open and t.id == track_id for t in self._tracks):
            raise ValueError(f"track {track_id} is recorded already")
        if clock <= 0:
            raise ValueError("the clock is a number of ticks a second")
        beside = {"opus"} if codec.lower() == "red" else set[str]()
        if types and not {name.lower() for name in types.values()} <= {codec.lower()} | beside:
            raise ValueError("only red has another codec beside it, which is opus")
        named = {"track": track_id, "participant": participant, "kind": kind, "codec": codec, "clock": clock, "rids": list(rids)}
        named |= {"device": True} if device else {}
        number = len(self._tracks)
        track = TrackWriter(
            number,
            named | {"begun": self._now(), "origin": self._begun, "types": types},
            self._enqueue,
            self._note,
            self._create,
            self._on_keyframe,
        )
        self._tracks.append(track)
        begun = self._now().isoformat()
        self._enqueue(None, lambda: self._note({"track": number, "set": named | {"begun": begun, "file": None}}), 0.0)
        return track

    def stop(self, reason: str = "asked") -> "Future[Index]":
        """Ends it; the future is done with the index once all is on disk (`await asyncio.wrap_future(...)`). May be called again."""
        if self._open:
            self._open, self._reason = False, reason
            self._wake.set()
        return self._result

    def _now(self) -> datetime:
        return self.started + timedelta(seconds=self._clock() - self._begun)

    def _enqueue(self, track: TrackWriter | None, what: bytes | Callable[[], None], arrival: float) -> None:
        if not self._open:
            return
        if isinstance(what, bytes):
            if self._put - self._taken > QUEUE_MAX:
                self.overrun += 1
                return
            self._put += len(what) + COST
        self._queue.append((track, what, arrival))

    # The thread's side.

    def _note(self, line: Line) -> None:
        fold(self._index, line)
        self._lines.append(line)

    def _note_consent(self, participant: str, when: datetime) -> None:
        self._note({"consent": {"participant": participant, "consented": when.astimezone(self._zone).isoformat()}})

    def _write_journal(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            self._journal.append("".join([json.dumps(line, ensure_ascii=False) + "\n" for line in lines]).encode())

    def _create(self, name: str) -> SealedWriter:
        return SealedWriter.create(self.folder / name, self._key, self.id)

    def _run(self) -> None:
        failed: Exception | None = None
        try:
            self._work()
            for track in self._tracks:
                track.finish()
            self._finish()
            reason = self._reason
        except Exception as error:
            log.exception("recording %s ended", self.id.hex())
            failed, self._open = error, False
            for track in self._tracks:
                track.abandon()
            self._journal.close()
            reason = "disk-full" if isinstance(error, OSError) and error.errno == errno.ENOSPC else "disk-error"
        finally:
            os.close(self._lock)  # before it is told: who hears of the end may read, recover or delete it
        if failed:
            self._result.set_exception(failed)
        else:
            self._result.set_result(self._index)
        if reason in ("bytes", "seconds", "disk-full", "disk-error") and self._on_end is not None:
            self._on_end(reason)

    def _work(self) -> None:
        flushed = synced = self._clock()
        while self._open:
            self._wake.wait(BATCH)
            self._drain()
            now = self._clock()
            if now - flushed >= FLUSH:
                flushed = now
                for track in self._tracks:
                    track.tick(now)
                    track.flush()
                self._write_journal()
                self._limit(now)
            if now - synced >= SYNC:
                synced = now
                for track in self._tracks:
                    track.sync()
                self._journal.sync()
        self._drain()

    def _drain(self) -> None:
        queue, n = self._queue, 0
        while queue:
            n += 1
            if n % TURN == 0:
                time.sleep(0)  # lets go of the interpreter, which the event loop may be waiting for
            track, what, arrival = queue.popleft()
            if isinstance(what, bytes):
                assert track is not None
                self._taken += len(what) + COST
                track.take(what, arrival)
            else:
                what()

    def _limit(self, now: float) -> None:
        size = self._journal.size + sum(track.size for track in self._tracks)
        if size > self._limits.bytes:
            self.stop("bytes")
        elif now - self._begun > self._limits.seconds:
            self.stop("seconds")
        elif shutil.disk_usage(self.folder).free < self._limits.free:
            self.stop("disk-full")

    def _finish(self) -> None:
        stopped = self._now()
        self._note(
            {"set": {"stopped": stopped.isoformat(), "seconds": round((stopped - self.started).total_seconds(), 3), "why": self._reason}}
        )
        if self.overrun:
            self._note({"set": {"overrun": self.overrun}})
        align(self._index)
        self._write_journal()
        self._journal.finish()
        write_index(self.folder, self._key, self.id, self._index)


def unfinished(root: Path) -> list[Path]:
    """The folders right below `root` whose recordings run or crashed: `recover` tells which (Busy)."""
    return [folder for folder in folders(root) if not (folder / INDEX).exists()]


def recover(folder: Path, key: bytes) -> Index:
    """Finishes a recording whose process died: its files get their ends, and it gets its index. What was finished is left alone.

    A file that cannot be finished is named in its track's "problem". Raises Busy, WrongKey, Tampered, OSError.
    """
    lock = os.open(folder / JOURNAL, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"{folder} is still being written") from None
        index = read_index(folder, key)
        if not index.pop("unfinished", False):
            return index
        index, owner = read_journal(folder, key)
        for track in index["tracks"]:
            if track.get("file") and not track.get("closed"):
                try:
                    track.update(finish_after_crash(folder / track["file"], key, track))
                except (SealedError, OSError) as error:
                    track["problem"] = str(error)
        zone = datetime.fromisoformat(index["started"]).tzinfo
        stopped = datetime.fromtimestamp(max(file.stat().st_mtime for file in folder.iterdir()), zone)
        index.setdefault("why", "crashed")
        index |= {"recovered": True, "stopped": index.get("stopped", stopped.isoformat())}
        align(index)
        write_index(folder, key, owner, index)
        return index
    finally:
        os.close(lock)
