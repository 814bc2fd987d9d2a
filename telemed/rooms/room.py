"""One consultation from the first knock to the end."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from telemed.ports import MediaRelay, PeerState
from telemed.rooms.chat import Chat
from telemed.rooms.media import Media
from telemed.rooms.participant import Participant, Via, stamp, straight_in
from telemed.rooms.recording import Hook, Recording
from telemed.rooms.refused import Refused
from telemed.rooms.roles import Right
from telemed.settings import Settings
from telemed.tokens import Identity

log = logging.getLogger(__name__)
Sink = Callable[[dict[str, Any]], None]
State = Literal["scheduled", "waiting", "admitted", "live", "interrupted", "ended"]
REMOVED_CODE, REPLACED_CODE, ENDED_CODE, MOVED_CODE = 4403, 4409, 4410, 1012
WATCHERS_EVERY = 1.0
_encoder = msgspec.json.Encoder()

REFUSED_TEXT = {"vi": "Bạn chưa được mời vào phòng khám.", "en": "You were not let into the room."}
REMOVED_TEXT = {"vi": "Bạn đã được mời ra khỏi phòng khám.", "en": "You were removed from the room."}
REPLACED_TEXT = {"vi": "Bạn đã vào phòng khám ở nơi khác.", "en": "You came in from another window or device."}
ENDED_TEXT = {"vi": "Buổi khám đã kết thúc.", "en": "The consultation has ended."}


def _unheard(room: str, state: str, consented: Mapping[str, float]) -> None:
    """The hook where nothing is recorded; what was restored from another relay may still call it."""
    if state == "on":
        raise RuntimeError("this relay has no place for recordings")


def encode(message: dict[str, Any]) -> str:
    """One message as its text frame."""
    return _encoder.encode(message).decode()


class Room:
    """`sink` hears events, `hook` starts and stops writing (None: nothing can be recorded).

    `now`: seconds since 1970, `ticks`: a clock that never jumps.
    """

    def __init__(
        self,
        id: str,
        relay: MediaRelay,
        settings: Settings,
        sink: Sink,
        hook: Hook | None,
        now: Callable[[], float],
        ticks: Callable[[], float],
    ) -> None:
        self.id, self._settings, self._sink, self._now, self._ticks, self._relay = id, settings, sink, now, ticks, relay
        self.participants: dict[str, Participant] = {}
        self.removed: dict[str, int] = {}  # participant -> second up to which its tokens open nothing
        self.past: dict[str, dict[str, Any]] = {}  # those who were in and left, for the event at the end
        self.state: State = "scheduled"
        self.since = now()
        self.started: float | None = None  # first admission
        self.was_live = False
        self.dirty = True  # changed since the last snapshot
        self.chat = Chat(settings.chat_messages)
        self.media = Media(self, relay, ticks)
        self.records = hook is not None
        call = hook or _unheard
        self.recording = Recording(self._recording_changed, lambda state, consented: call(id, state, consented), now, ticks)
        self._empty_at: float | None = ticks()
        self._watchers_dirty, self._watchers_told = False, 0.0
        relay.listen(id, self)
        self.event("opened")

    def expect(self, absent: list[Participant], state: State) -> None:
        """Puts back those who were in or waiting before a restart; each has `grace_seconds` from now."""
        now = self._ticks()
        for who in absent:
            who.down_at, who.link = now, "down"
            self.participants[who.id] = who
        self._empty_at = None if self.participants else now
        self.state = state
        self.settle()

    # ---- telling ----

    def tell(self, participant: Participant, message: dict[str, Any], kept: bool = True) -> None:
        """To one."""
        if participant.ear is not None:
            participant.ear.tell(encode(message), kept)

    def tell_all(self, message: dict[str, Any], kept: bool = True, but: Participant | None = None, right: Right | None = None) -> None:
        """To everybody who is in; `right`: only to those who have it."""
        text = encode(message)
        for who in list(self.participants.values()):
            if who.admitted and who is not but and who.ear is not None and (right is None or who.may(right)):
                who.ear.tell(text, kept)

    def event(self, name: str, /, **fields: Any) -> None:
        """To the program that runs the relay."""
        self.dirty = True
        try:
            self._sink({"event": name, "room": self.id, "time": stamp(self._now()), **fields})
        except Exception:
            log.exception("room %s: the sink failed on %s", self.id, name)

    # ---- what a participant sees ----

    def record(self, reader: Participant) -> dict[str, Any]:
        """As the protocol shows it."""
        recording = self.recording.record(reader.may(Right.RECORD))
        if not reader.admitted:  # who waits learns of no one
            recording.update(by=None, asked=[], consented=[], refused=[])
        return {"id": self.id, "state": self.state, "since": stamp(self.since), "watchers": self.watchers(), "recording": recording}

    def view(self, reader: Participant) -> dict[str, Any]:
        """What `welcome` and `admitted` say of the room; someone who waits sees no one."""
        inside = reader.admitted
        others = [p for p in self.participants.values() if p is not reader]
        return {
            "you": reader.record(),
            "room": self.record(reader),
            "participants": [p.record() for p in others if p.admitted and p.listed] if inside else [],
            "waiting": [p.record() for p in others if not p.admitted] if inside and reader.may(Right.ADMIT) else [],
            "tracks": [self.media.record(track, reader) for track in self.media.tracks.values()] if inside else [],
            "chat": list(self.chat.messages) if inside else [],
        }

    def watchers(self) -> int:
        """How many are in who are not listed."""
        return sum(1 for p in self.participants.values() if p.admitted and not p.listed)

    # ---- coming and going ----

    def enter(self, identity: Identity, via: Via, returning: bool = False) -> Participant:
        """Someone with a good token. Set `ear` once it has been told where it is.

        `returning`: its resume token says that it had been admitted.

        Raises Refused (codes: ended, removed, conflict, not-admitted, room-full).
        """
        self.check(identity)
        here = self.participants.get(identity.participant)
        if here is not None and here.via != via:
            if here.down_at is None and here.ear is not None:
                raise Refused("conflict", f"in the room by {here.via}")
            self.leave(here, "replaced")
            here = None
        straight = straight_in(identity) or returning
        if here is not None:
            return self._again(here, identity, straight)
        if straight:
            self._room_for(identity, via)
        elif via != "ws":
            raise Refused("not-admitted", "there is no waiting over HTTP: the token must say admitted")
        elif sum(1 for p in self.participants.values() if not p.admitted) >= self._settings.waiting:
            raise Refused("room-full", "waiting room")
        who = Participant(identity, via, False, self._now(), media_at=self._ticks())
        self.participants[who.id] = who
        self._empty_at = None
        if straight:
            self._let_in(who, None)
        else:
            self.event("waiting", participant=who.id, name=identity.name, role=identity.role.value)
            self.tell_all({"type": "waiting", "participant": who.record()}, right=Right.ADMIT)
            self.settle()
        return who

    def check(self, identity: Identity) -> None:
        """Raises Refused when the room has ended or this one was removed."""
        if self.state == "ended":
            raise Refused("ended")
        if self.removed.get(identity.participant, -1) >= identity.issued:
            raise Refused("removed")

    def _again(self, here: Participant, identity: Identity, straight: bool) -> Participant:
        """The same participant from another window, device or after a restart; its place in the room stays."""
        ear, here.ear = here.ear, None
        if ear is not None:
            ear.tell(encode({"type": "replaced", "text": REPLACED_TEXT}), True)
            ear.finish(REPLACED_CODE)
        self.media.close(here)
        keeps = here.admitted and here.role is identity.role
        if here.admitted and not keeps and not straight:
            self.leave(here, "replaced")
            return self.enter(identity, here.via)
        here.identity, here.down_at = identity, None
        if here.admitted:
            self._changed(here)
            self.recording.back()
        elif straight:
            self._room_for(identity, here.via)
            self.tell_all({"type": "waiting-left", "participant": here.id, "reason": "admitted"}, right=Right.ADMIT)
            self._let_in(here, None)
        self.settle()
        return here

    def _room_for(self, identity: Identity, via: Via) -> None:
        newcomer = Participant(identity, via, True, 0.0)
        limit = self._settings.publishers if newcomer.publishes else self._settings.watchers
        if sum(1 for p in self.participants.values() if p.admitted and p.publishes == newcomer.publishes) >= limit:
            raise Refused("room-full", f"{limit} {'publishers' if newcomer.publishes else 'watchers'}")

    def _let_in(self, who: Participant, by: str | None) -> None:
        who.admitted, who.entered = True, self._now()
        self.started = self.started or who.entered
        self.event("admitted", participant=who.id, by=by, name=who.identity.name, role=who.role.value, via=who.via)
        if who.listed:
            self.tell_all({"type": "joined", "participant": who.record()}, but=who)
        else:
            self._watchers_dirty = True
        if who.consents:
            self.recording.joined(who.id)
        self.settle()

    def admit(self, by: Participant, participant: str | None) -> None:
        """One, or None: everybody who waits.

        Raises Refused.
        """
        self._need(by, Right.ADMIT)
        everyone = [p for p in self.participants.values() if not p.admitted]
        chosen = everyone if participant is None else [self._waiting(participant)]
        for who in chosen:
            self._room_for(who.identity, who.via)
            self.tell_all({"type": "waiting-left", "participant": who.id, "reason": "admitted"}, right=Right.ADMIT)
            self._let_in(who, by.id)
            if who.ear is not None:
                who.ear.admitted(by.id)

    def refuse(self, by: Participant, participant: str) -> None:
        """Raises Refused."""
        self._need(by, Right.ADMIT)
        self._put_out(self._waiting(participant), by, "refused", REFUSED_TEXT)

    def remove(self, by: Participant, participant: str) -> None:
        """Raises Refused."""
        self._need(by, Right.REMOVE)
        who = self.participants.get(participant)
        if who is None:
            raise Refused("unknown-participant")
        if who.may(Right.REMOVE) and who is not by:
            raise Refused("not-allowed", "has the same right")
        self._put_out(who, by, "removed", REMOVED_TEXT)

    def _put_out(self, who: Participant, by: Participant, how: str, text: dict[str, str]) -> None:
        self.removed[who.id] = int(self._now())
        self.event(how, participant=who.id, by=by.id)
        ear, who.ear = who.ear, None
        if ear is not None:
            ear.tell(encode({"type": how, "by": by.id, "text": text}), True)
            ear.finish(REMOVED_CODE)
        self.leave(who, how)

    def leave(self, who: Participant, reason: str) -> None:
        """For good. `reason`: left, lost, removed, refused, replaced."""
        if self.participants.get(who.id) is not who:
            return
        self.media.close(who)
        del self.participants[who.id]
        if who.admitted:
            self._note_past(who)
            if who.listed:
                self.tell_all({"type": "left", "participant": who.id, "reason": reason})
            else:
                self._watchers_dirty = True
        else:
            self.tell_all({"type": "waiting-left", "participant": who.id, "reason": reason}, right=Right.ADMIT)
        stay = self._now() - who.entered if who.entered is not None else 0.0
        self.event("left", participant=who.id, reason=reason, seconds=round(stay, 3), quality=who.summary.summary())
        self.recording.left(who.id)
        if not self.participants:
            self._empty_at = self._ticks()
        ear, who.ear = who.ear, None
        if ear is not None:
            ear.finish(1000)
        self.settle()

    def _note_past(self, who: Participant) -> None:
        known = self.past.setdefault(who.id, {"id": who.id, "name": who.identity.name, "role": who.role.value, "seconds": 0.0})
        known["seconds"] = round(known["seconds"] + self._now() - (who.entered or self._now()), 3)
        known["quality"] = who.summary.summary()

    def end(self, by: Participant | None, reason: str = "end") -> None:
        """Closes the room for everybody.

        Raises Refused.
        """
        if by is not None:
            self.may_end(by)
        if self.state == "ended":
            return
        self.recording.stop()
        text = encode({"type": "ended", "by": by.id if by else None, "reason": reason, "text": ENDED_TEXT})
        for who in list(self.participants.values()):
            if who.admitted:
                self._note_past(who)
            ear, who.ear = who.ear, None
            if ear is not None:
                ear.tell(text, True)
                ear.finish(ENDED_CODE)
        for who in list(self.participants.values()):
            self.media.close(who)
        self.participants.clear()
        self._to("ended")
        seconds = round(self._now() - self.started, 3) if self.started is not None else 0.0
        self.event("ended", by=by.id if by else None, reason=reason, seconds=seconds, participants=list(self.past.values()))
        self._relay.listen(self.id, None)

    def may_end(self, by: Participant) -> None:
        """Raises Refused."""
        self._need(by, Right.END)

    def close(self) -> None:
        """Forgets a room that was never used, without an event for the record."""
        self.state = "ended"
        self._relay.listen(self.id, None)

    def move(self) -> None:
        """Goes on at another relay: everybody is told to come back, which leads them there."""
        self.recording.halt()
        self.state = "ended"
        for who in list(self.participants.values()):
            ear, who.ear = who.ear, None
            if ear is not None:
                ear.finish(MOVED_CODE)
            self.media.close(who)
        self.participants.clear()
        self._relay.listen(self.id, None)

    # ---- links ----

    def link_lost(self, who: Participant) -> None:
        """Its signalling (or HTTP session's media) is gone; it is expected back for `grace_seconds`."""
        if self.participants.get(who.id) is who and who.down_at is None:
            who.down_at = self._ticks()
            self.settle()

    def link_back(self, who: Participant) -> None:
        """Its signalling is back."""
        who.down_at = None
        self.settle()

    def media_lost(self, who: Participant) -> None:
        """The relay gave its peer up. One who came by the page negotiates again; a device's session is nothing but its peer."""
        if who.via == "ws":
            self.media.close(who)
            self.tell(who, {"type": "media-lost"})
            self.settle()
        else:
            self.leave(who, "lost")

    def settle(self) -> None:
        """Brings links and the room's state up to date after anything changed."""
        if self.state == "ended":
            return
        for who in list(self.participants.values()):
            link: Literal["up", "down"] = "up" if who.reached() else "down"
            if link != who.link:
                who.link = link
                if who.admitted:
                    self.event("link", participant=who.id, link=link)
                self._changed(who)
        inside = [p for p in self.participants.values() if p.admitted]
        reached = sum(1 for p in inside if p.link == "up")
        if inside and reached >= 2 and (self.media.tracks or self.was_live):
            self._to("live")
        elif self.was_live:
            self._to("interrupted")
        elif inside:
            self._to("admitted")
        else:
            self._to("waiting" if self.participants else "scheduled")

    def _to(self, state: State) -> None:
        if state == self.state:
            return
        before, self.state, self.since = self.state, state, self._now()
        self.was_live = self.was_live or state == "live"
        self.event("state", **{"from": before, "to": state})
        if state != "ended":
            self._tell_room("room")

    def _tell_room(self, kind: str, **more: Any) -> None:
        """The room's or the recording's new state; who refused is for those who record."""
        texts: dict[tuple[bool, bool], str] = {}
        for who in list(self.participants.values()):
            if who.ear is None or not (who.admitted or kind == "room"):
                continue
            group = (who.admitted, who.may(Right.RECORD))
            if group not in texts:
                part = self.record(who) if kind == "room" else self.recording.record(group[1])
                texts[group] = encode({"type": kind, kind: part, **more})
            who.ear.tell(texts[group], True)

    def _changed(self, who: Participant) -> None:
        self.dirty = True
        if not who.admitted:
            return
        if who.listed:
            self.tell_all({"type": "changed", "participant": who.record()})

    def tick(self) -> None:
        """Each half second or so: those who did not come back, an empty room, an unanswered question."""
        now = self._ticks()
        for who in list(self.participants.values()):
            grace = self._settings.grace_seconds
            silent = who.via != "ws" and who.media is not PeerState.CONNECTED and now - who.media_at >= grace
            if silent or (who.down_at is not None and now - who.down_at >= grace):
                self.leave(who, "lost")
        self.recording.tick()
        if self._watchers_dirty and now - self._watchers_told >= WATCHERS_EVERY:
            self._watchers_dirty, self._watchers_told = False, now
            self.tell_all({"type": "watchers", "count": self.watchers()}, kept=False)
        if self.state != "ended" and self._empty_at is not None and now - self._empty_at >= self._settings.empty_seconds:
            if self.started is not None:
                self.end(None, "empty")
            else:
                self.close()

    # ---- beside the picture ----

    def write(self, who: Participant, text: str) -> None:
        """A chat message.

        Raises Refused.
        """
        self._inside(who, Right.CHAT)
        message = self.chat.add(who.id, who.identity.name, who.role.value, text, stamp(self._now()))
        self.dirty = True
        self.tell_all({"type": "chat", "message": message})

    def pass_on(self, who: Participant, label: str, data: Any) -> None:
        """A small thing to everybody else.

        Raises Refused.
        """
        self._inside(who, Right.CHAT)
        self.tell_all({"type": "data", "from": who.id, "label": label, "data": data}, kept=False, but=who)

    def raise_hand(self, who: Participant, up: bool) -> None:
        """Raises Refused."""
        self._inside(who)
        if who.hand == up:
            return
        who.hand = up
        if who.listed:
            self._changed(who)
        else:
            self.tell_all({"type": "hand", "participant": who.record(), "up": up}, right=Right.ADMIT)

    def record_on(self, who: Participant, on: bool) -> None:
        """Asks everyone for consent, or stops.

        Raises Refused.
        """
        self._inside(who, Right.RECORD)
        if on and not self.records:
            raise Refused("recording", "this relay has no place for recordings")
        present = [p.id for p in self.participants.values() if p.admitted and p.consents]
        if not (self.recording.ask(who.id, present) if on else self.recording.stop()):
            raise Refused("recording", f"is {self.recording.state}")

    def consent(self, who: Participant, given: bool) -> None:
        """Raises Refused."""
        self._inside(who)
        if who.id not in self.recording.asked:
            raise Refused("recording", "nothing is asked")
        self.event("consent", participant=who.id, given=given)
        self.recording.answer(who.id, given)

    def _recording_changed(self, reason: str) -> None:
        part = self.recording.record(False)
        self.event("recording", state=part["state"], by=part["by"], reason=reason, consented=part["consented"])
        self._tell_room("recording", reason=reason)

    def on_speakers(self, room: str, levels: Mapping[str, float]) -> None:
        """From the relay (ports.RoomListener)."""
        self.tell_all({"type": "speakers", "levels": dict(levels)}, kept=False)

    def _need(self, who: Participant, right: Right) -> None:
        self._inside(who, right)

    @staticmethod
    def _inside(who: Participant, right: Right | None = None) -> None:
        if not who.admitted:
            raise Refused("not-admitted")
        if right is not None and not who.may(right):
            raise Refused("not-allowed", right.value)

    def _waiting(self, participant: str) -> Participant:
        who = self.participants.get(participant)
        if who is None or who.admitted:
            raise Refused("unknown-participant")
        return who
