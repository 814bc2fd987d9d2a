"""The recordings of one relay: started, paused and ended as the rooms say, fed by the relay's tap."""

import asyncio
import errno
import logging
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from telemed.ports import MediaRelay, TrackInfo
from telemed.record.delete import clean, expire
from telemed.record.index import Index
from telemed.record.recording import Busy, Limits, Recording, recover, unfinished
from telemed.record.sealed import SealedError
from telemed.record.track import TrackWriter
from telemed.rooms.recording import State

log = logging.getLogger(__name__)
SWEEP = 3600.0  # seconds between two looks for recordings that are too old
FINISH_SECONDS = 10.0  # that the end of the relay waits for files to be finished; `recover` does the rest
# Why one ended by itself -> what the room is told.
REASONS = {"bytes": "limit", "seconds": "limit", "disk-full": "disk-full", "disk-error": "failed"}


class Recorder:
    """Give `hook` to the rooms. All of it is for the relay's event loop.

    failed(room, reason): a recording ended without the room's wish, for reason failed, disk-full or limit.
    done(room, name, index): one is whole on the disk, in the folder of that name.
    """

    def __init__(
        self,
        relay: MediaRelay,
        root: Path,
        key: bytes,
        failed: Callable[[str, str], None],
        done: Callable[[str, str, Index], None] = lambda room, name, index: None,
        limits: Limits | None = None,
        days: float = 0,
        deleted: Callable[[str, str], None] = lambda room, name: None,
        device: Callable[[str, str], bool] = lambda room, participant: False,
    ) -> None:
        """days: that recordings are kept, 0: for ever; deleted(room, name): one was older.

        device(room, participant): whether that one is no person, and so recorded with the consent of the people in the room.
        """
        self.relay, self.root, self.key, self.limits = relay, root, key, limits or Limits()
        self.failed, self.done, self.days, self.deleted = failed, done, days, deleted
        self.device = device
        self.loop: asyncio.AbstractEventLoop | None = None
        self._sessions: dict[str, _Session] = {}
        self._ending: set[asyncio.Future[Any]] = set()
        self._recovering: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """Recordings that are not ended, paused ones too."""
        return len(self._sessions)

    async def open(self) -> None:
        """Makes the folder, and begins to finish what a crash left in it. Raises OSError."""
        self.loop = asyncio.get_running_loop()
        await asyncio.to_thread(partial(self.root.mkdir, mode=0o700, parents=True, exist_ok=True))
        self._recovering = asyncio.create_task(self._behind())

    async def _behind(self) -> None:
        """What is done beside the calls: what a crash left, then what is too old, again and again."""
        await self._recover()
        passed: set[str] = set()
        while True:
            try:
                await self._sweep(passed)
            except OSError as error:
                log.error("old recordings cannot be deleted: %s", error)
            except Exception:
                log.exception("old recordings are not deleted")
            await asyncio.sleep(SWEEP)

    async def _sweep(self, passed: set[str]) -> None:
        if left := await asyncio.to_thread(clean, self.root):
            log.info("%d deletions of recordings that were cut off are finished", left)
        if self.days:
            found = expire(self.root, self.key, self.days, datetime.now(UTC), passed)
            while (one := await asyncio.to_thread(next, found, None)) is not None:
                self.deleted(one[1]["room"], one[0])

    async def _recover(self) -> None:
        for folder in await asyncio.to_thread(unfinished, self.root):
            try:
                index = await asyncio.to_thread(recover, folder, self.key)
                log.info("recording %s, left by a crash, is finished", folder.name)
                self.done(index["room"], folder.name, index)
            except Busy:
                continue  # another relay is at it
            except (SealedError, OSError, ValueError, KeyError) as error:
                log.warning("recording %s cannot be finished: %s", folder.name, error)

    async def close(self) -> None:
        """Ends all of them, and waits until they are on the disk."""
        if self._recovering is not None:
            self._recovering.cancel()
            await asyncio.gather(self._recovering, return_exceptions=True)
        for session in list(self._sessions.values()):
            session.end()
        if self._ending:
            await asyncio.wait(set(self._ending), timeout=FINISH_SECONDS)

    def hook(self, room: str, state: State, consented: Mapping[str, float]) -> None:
        """rooms.recording.Hook. Nothing is written before "on", nor after "paused" or "off", from the call on."""
        session = self._sessions.get(room)
        if state == "on":
            if session is None:
                session = self._sessions[room] = _Session(self, room)
            session.go(consented)
        elif session is not None and state == "paused":
            session.pause()
        elif session is not None:
            session.end()

    # For sessions.

    def forget(self, session: "_Session") -> None:
        if self._sessions.get(session.room) is session:
            del self._sessions[session.room]

    def keep(self, work: "asyncio.Future[Any]") -> None:
        """The relay's end waits for it."""
        self._ending.add(work)
        work.add_done_callback(self._ending.discard)


class _Session:
    """One recording, from the consent of all to its end (ports.Tap)."""

    def __init__(self, recorder: Recorder, room: str) -> None:
        self.room = room
        self._recorder = recorder
        self._recording: Recording | None = None
        self._writers: dict[str, TrackWriter] = {}
        self._consented: dict[str, datetime] = {}
        self._on = self._over = self._starting = False

    # What the room decides.

    def go(self, consented: Mapping[str, float]) -> None:
        """Everybody present has agreed: `consented` are they, with the seconds since 1970."""
        self._on = True
        self._consented = {who: datetime.fromtimestamp(when, UTC) for who, when in consented.items()}
        if self._recording is not None:
            self._tap(self._recording)
        elif not self._starting:
            self._starting = True
            self._recorder.keep(asyncio.ensure_future(self._start()))

    def pause(self) -> None:
        self._on = False
        self._recorder.relay.tap(self.room, None)

    def end(self) -> None:
        """For good."""
        if self._over:
            return
        self._on, self._over = False, True
        self._recorder.relay.tap(self.room, None)
        self._recorder.forget(self)
        if self._recording is not None:
            self._recording.stop()

    async def _start(self) -> None:
        r = self._recorder
        # No name of a room or person: who may list the disk learns only when something was recorded.
        folder = r.root / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        loop = asyncio.get_running_loop()

        def soon(call: Callable[[str], None], word: str) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(call, word)

        try:
            self._recording = recording = await Recording.start(
                folder, r.key, self.room, self._consented, limits=r.limits,
                on_end=partial(soon, self._ended), on_keyframe=partial(soon, self._ask),
            )  # fmt: skip
        except Exception as error:
            log.exception("a recording cannot begin")
            self._ended("disk-full" if isinstance(error, OSError) and error.errno == errno.ENOSPC else "disk-error")
            return
        finally:
            self._starting = False
        result = recording.stop() if self._over else recording.result
        finished = asyncio.ensure_future(asyncio.wrap_future(result))
        r.keep(finished)
        finished.add_done_callback(partial(self._finished, folder.name))
        if self._on:
            self._tap(recording)

    def _tap(self, recording: Recording) -> None:
        try:
            for who, when in self._consented.items():
                recording.joined(who, when)
        except ValueError:
            log.exception("room %s: a consent cannot be recorded", self.room)
            self._fail("failed")
            return
        self._recorder.relay.tap(self.room, self)

    # What the writer says.

    def _finished(self, name: str, result: "asyncio.Future[Index]") -> None:
        if not result.cancelled() and result.exception() is None:
            self._recorder.done(self.room, name, result.result())

    def _ended(self, reason: str) -> None:
        self._fail(REASONS.get(reason, "failed"))

    def _fail(self, reason: str) -> None:
        if not self._over:
            log.warning("room %s is no longer recorded: %s", self.room, reason)
            self.end()
            self._recorder.failed(self.room, reason)

    def _ask(self, track_id: str) -> None:
        self._recorder.relay.keyframe(self.room, track_id)

    # What the relay brings (ports.Tap).

    def open(self, track: TrackInfo, codec: str, clock: int, types: Mapping[int, str]) -> Callable[[bytes, float], None] | None:
        """None for people who were not asked, as those who came over HTTP: nothing of theirs is written."""
        if self._recording is None or not self._recording.running:
            return None
        device = track.participant not in self._consented
        if device and not self._recorder.device(self.room, track.participant):
            return None
        try:
            writer = self._recording.track(track.id, track.participant, track.kind, codec, clock, track.layers, types, device)
        except Exception:
            log.exception("room %s: a track cannot be recorded", self.room)
            # Not from within the relay's step, whose tracks this changes.
            asyncio.get_running_loop().call_soon(self._fail, "limit")
            return None
        self._writers[track.id] = writer
        return writer.write

    def report(self, track_id: str, ntp: float, rtp: int) -> None:
        if (writer := self._writers.get(track_id)) is not None:
            writer.sender_report(ntp, rtp)

    def close(self, track_id: str) -> None:
        if (writer := self._writers.pop(track_id, None)) is not None:
            writer.close()
