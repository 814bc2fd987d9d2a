"""A room without a network: lifecycle, waiting room, rights, limits, consent, restarts."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from telemed.ports import PeerState, Published, Quality, Source
from telemed.rooms.participant import Participant
from telemed.rooms.refused import Refused
from telemed.rooms.registry import Rooms
from telemed.rooms.roles import DEFAULTS, Right, Role
from telemed.rooms.room import Room
from telemed.settings import Settings
from telemed.tokens import Identity
from tests.telemed.rooms.fake import BOTH, WATCH, FakeEar, FakeRelay, offer


class Clinic:
    """Rooms with clocks that tests move."""

    def __init__(self, **settings: Any) -> None:
        self.time = 1_800_000_000.0
        self.events: list[dict[str, Any]] = []
        self.hooks: list[tuple[str, list[str]]] = []
        self.fail_hook = False
        self.relay = FakeRelay()
        self.settings = Settings(secret="s" * 32, **settings)
        self.rooms = self.anew()

    def anew(self) -> Rooms:
        return Rooms(self.relay, self.settings, self.events.append, self.hook, lambda: self.time, lambda: self.time)

    def hook(self, room: str, state: str, consented: Mapping[str, float]) -> None:
        if self.fail_hook:
            raise RuntimeError("disk full")
        assert all(when <= self.time for when in consented.values())
        self.hooks.append((state, sorted(consented)))

    def come(self, id: str, role: str = "doctor", via: Any = "ws", room: str = "r", **more: Any) -> tuple[Room, Participant, FakeEar]:
        given: Iterable[Right] | None = more.pop("rights", None)
        rights = DEFAULTS[Role(role)] if given is None else frozenset(given)
        identity = Identity(room, id, f"Tên {id}", Role(role), rights, issued=more.pop("issued", int(self.time)), **more)
        opened = self.rooms.open(identity)
        who = opened.enter(identity, via)
        ear = FakeEar()
        who.ear = ear
        return opened, who, ear

    def later(self, seconds: float) -> None:
        self.time += seconds
        self.rooms.tick()

    def of(self, event: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e["event"] == event]


def refused(code: str) -> Any:
    return pytest.raises(Refused, match=f"'{code}'")


def test_a_consultation_from_the_first_knock_to_the_end() -> None:
    clinic = Clinic()
    room, patient, hears = clinic.come("pat", "patient")
    assert (room.state, patient.admitted) == ("waiting", False)
    assert room.view(patient)["participants"] == []
    _, doctor, ear = clinic.come("doc")
    assert (room.state, doctor.admitted) == ("admitted", True)
    assert [p["id"] for p in room.view(doctor)["waiting"]] == ["pat"]
    room.admit(doctor, "pat")
    assert hears.let_in_by == "doc"
    assert ear.types().count("joined") == 1
    assert room.state == "admitted"
    room.media.negotiate(patient, BOTH, {}, {})
    assert room.state == "live"
    assert [t["kind"] for t in room.view(doctor)["tracks"]] == ["audio", "video"]
    assert "mid" not in room.view(doctor)["tracks"][0]
    assert room.view(patient)["tracks"][0]["mid"] == "0"
    clinic.later(60)
    room.link_lost(patient)
    assert room.state == "interrupted"
    assert ear.last("changed")["participant"]["link"] == "down"
    room.link_back(patient)
    assert room.state == "live"
    clinic.later(540)
    room.end(doctor)
    assert (ear.code, hears.code) == (4410, 4410)
    assert clinic.relay.peer("pat").closed
    clinic.rooms.tick()
    assert not clinic.rooms.rooms
    assert not clinic.relay.listeners
    ended = clinic.of("ended")[0]
    assert (ended["reason"], ended["by"], ended["seconds"]) == ("end", "doc", 600.0)
    assert {p["id"]: p["seconds"] for p in ended["participants"]} == {"doc": 600.0, "pat": 600.0}
    assert [e["to"] for e in clinic.of("state")] == ["waiting", "admitted", "live", "interrupted", "live", "ended"]


@pytest.mark.parametrize(
    ("role", "waits"),
    [("patient", True), ("carer", True), ("nurse", True), ("interpreter", True), ("observer", True), ("watcher", True), ("doctor", False),
     ("specialist", False), ("device", False)],
)  # fmt: skip
def test_who_waits(role: str, waits: bool) -> None:
    assert Clinic().come("x", role)[1].admitted is not waits
    assert Clinic().come("x", role, admitted=True)[1].admitted
    assert Clinic().come("x", role, rights=[Right.ADMIT])[1].admitted


def test_rights_are_needed() -> None:
    clinic = Clinic()
    room, patient, _ = clinic.come("pat", "patient", admitted=True)
    _, waiting, _ = clinic.come("wait", "carer")
    _, watcher, _ = clinic.come("eye", "watcher", admitted=True, rights=[])
    for act in (
        lambda: room.admit(patient, "wait"), lambda: room.refuse(patient, "wait"), lambda: room.remove(patient, "eye"),
        lambda: room.end(patient), lambda: room.record_on(patient, True), lambda: room.write(watcher, "x"),
        lambda: room.pass_on(watcher, "vitals", 1),
        lambda: room.media.negotiate(watcher, BOTH, {}, {}),
    ):  # fmt: skip
        with refused("not-allowed"):
            act()
    for act in (
        lambda: room.write(waiting, "x"), lambda: room.raise_hand(waiting, True), lambda: room.media.negotiate(waiting, WATCH, {}, {}),
        lambda: room.consent(waiting, True),
    ):  # fmt: skip
        with refused("not-admitted"):
            act()
    room.media.negotiate(watcher, WATCH, {}, {})


def test_someone_refused_or_removed_does_not_come_back_with_an_old_token() -> None:
    clinic = Clinic()
    room, doctor, _ = clinic.come("doc")
    _, _, first = clinic.come("one", "patient")
    _, _, second = clinic.come("two", "patient", admitted=True)
    old = int(clinic.time)
    clinic.time += 5
    room.refuse(doctor, "one")
    room.remove(doctor, "two")
    assert (first.code, second.code) == (4403, 4403)
    assert (first.types()[-1], second.types()[-1]) == ("refused", "removed")
    for id in ("one", "two"):
        with refused("removed"):
            clinic.come(id, "patient", issued=old)
        with refused("removed"):
            clinic.come(id, "patient", issued=int(clinic.time))
    clinic.time += 1
    assert not clinic.come("two", "patient")[1].admitted
    with refused("unknown-participant"):
        room.remove(doctor, "one")
    room.end(doctor)
    clinic.rooms.tick()
    with refused("ended"):
        clinic.come("one", "patient", issued=old)
    clinic.time += 1
    clinic.come("doc")  # a new consultation in the same room, an old token
    clinic.rooms._ended.clear()
    with refused("removed"):
        clinic.come("one", "patient", issued=old)


def test_one_who_may_remove_is_not_removed_by_another() -> None:
    clinic = Clinic()
    room, one, _ = clinic.come("one")
    clinic.come("two")
    with refused("not-allowed"):
        room.remove(one, "two")


def test_a_room_takes_twelve_who_publish_and_two_hundred_who_watch() -> None:
    clinic = Clinic()
    for n in range(12):
        clinic.come(f"d{n}")
    with refused("room-full"):
        clinic.come("d12")
    room = clinic.rooms.rooms["r"]
    for n in range(200):
        clinic.come(f"w{n}", "watcher", admitted=True)
    with refused("room-full"):
        clinic.come("w200", "watcher", admitted=True)
    clinic.come("d0")  # the same one again is no other
    assert room.watchers() == 200
    assert len(room.view(room.participants["d0"])["participants"]) == 11
    _, patient, _ = clinic.come("late", "patient")
    with refused("room-full"):
        room.admit(room.participants["d0"], "late")
    assert not patient.admitted


def test_the_waiting_room_and_the_relay_have_bounds() -> None:
    clinic = Clinic(waiting=2, rooms=2)
    clinic.come("a", "patient")
    clinic.come("b", "patient")
    with refused("room-full"):
        clinic.come("c", "patient")
    clinic.come("a", room="r2")
    with refused("full"):
        clinic.come("a", room="r3")


def test_all_who_wait_are_let_in_at_once() -> None:
    clinic = Clinic()
    room, doctor, ear = clinic.come("doc")
    others = [clinic.come(f"p{n}", "patient")[1] for n in range(3)]
    assert ear.types().count("waiting") == 3
    room.admit(doctor, None)
    assert all(p.admitted for p in others)
    assert ear.types().count("waiting-left") == 3


def test_coming_again_takes_the_old_place() -> None:
    clinic = Clinic()
    room, doctor, _ = clinic.come("doc")
    _, patient, first = clinic.come("pat", "patient")
    room.admit(doctor, "pat")
    room.media.negotiate(patient, BOTH, {}, {})
    clinic.time += 1
    _, again, second = clinic.come("pat", "patient")
    assert (again is patient, again.admitted, first.code) == (True, True, 4409)
    assert first.types()[-1] == "replaced"
    assert not room.media.tracks
    assert second.code is None
    with refused("conflict"):
        clinic.come("pat", "patient", via="whip", admitted=True)


def test_coming_again_as_someone_else_waits_again() -> None:
    clinic = Clinic()
    room, _, _ = clinic.come("doc")
    clinic.come("x", "observer", admitted=True)
    _, x, _ = clinic.come("x", "patient")
    assert not x.admitted
    assert room.participants["x"] is x


def test_a_lost_participant_leaves_after_the_grace_and_an_empty_room_ends() -> None:
    clinic = Clinic(grace_seconds=60, empty_seconds=100)
    room, doctor, _ = clinic.come("doc")
    room.link_lost(doctor)
    clinic.later(59)
    assert "doc" in room.participants
    clinic.later(1)
    assert "doc" not in room.participants
    assert clinic.of("left")[0]["reason"] == "lost"
    clinic.later(99)
    assert room.state == "scheduled"
    clinic.later(1)
    assert clinic.of("ended")[0]["reason"] == "empty"
    assert not clinic.rooms.rooms


def test_a_room_that_nobody_was_let_into_is_forgotten_without_an_end() -> None:
    clinic = Clinic(empty_seconds=10)
    room, patient, _ = clinic.come("pat", "patient")
    room.leave(patient, "left")
    clinic.later(10)
    assert not clinic.rooms.rooms
    assert not clinic.of("ended")
    clinic.come("pat", "patient", issued=0)


def test_recording_waits_for_everyone() -> None:
    clinic = Clinic()
    room, doctor, ear = clinic.come("doc")
    _, patient, hears = clinic.come("pat", "patient", admitted=True)
    clinic.come("eye", "watcher", admitted=True)
    clinic.come("us", "device", "whip")
    room.record_on(doctor, True)
    assert hears.last("recording")["recording"] == {
        "state": "asking", "by": "doc", "asked": ["doc", "pat"], "consented": ["doc"], "refused": []
    }  # fmt: skip
    assert clinic.hooks == []
    with refused("recording"):
        room.record_on(doctor, True)
    room.consent(patient, True)
    assert clinic.hooks == [("on", ["doc", "pat"])]
    assert ear.last("recording")["recording"]["state"] == "on"
    _, nurse, _ = clinic.come("nur", "nurse", admitted=True)
    assert clinic.hooks[-1] == ("paused", ["doc", "pat"])
    room.consent(nurse, True)
    assert clinic.hooks[-1] == ("on", ["doc", "nur", "pat"])
    room.consent(patient, False)
    assert clinic.hooks[-1][0] == "off"
    assert ear.last("recording")["recording"]["refused"] == ["pat"]
    assert hears.last("recording")["recording"]["refused"] == []
    assert [e["given"] for e in clinic.of("consent")] == [True, True, False]
    with refused("recording"):
        room.record_on(doctor, False)


def test_recording_goes_on_when_the_one_who_had_not_answered_leaves() -> None:
    clinic = Clinic()
    room, doctor, _ = clinic.come("doc")
    _, patient, _ = clinic.come("pat", "patient", admitted=True)
    room.record_on(doctor, True)
    room.leave(patient, "left")
    assert clinic.hooks == [("on", ["doc"])]
    clinic.come("pat", "patient", admitted=True)
    assert clinic.hooks[-1][0] == "paused"
    room.record_on(doctor, False)
    assert clinic.hooks[-1][0] == "off"


def test_asking_ends_without_an_answer_and_at_the_end_of_the_room_recording_stops() -> None:
    clinic = Clinic()
    room, doctor, ear = clinic.come("doc")
    clinic.come("pat", "patient", admitted=True)
    room.record_on(doctor, True)
    clinic.later(121)
    assert (ear.last("recording")["reason"], ear.last("recording")["recording"]["state"]) == ("timeout", "off")
    room.leave(room.participants["pat"], "left")
    room.record_on(doctor, True)
    room.end(doctor)
    assert [state for state, _ in clinic.hooks] == ["on", "off"]


def test_a_writer_that_fails_stops_the_recording_and_not_the_room() -> None:
    clinic = Clinic()
    room, doctor, ear = clinic.come("doc")
    clinic.fail_hook = True
    room.record_on(doctor, True)
    assert (ear.last("recording")["reason"], ear.last("recording")["recording"]["state"]) == ("failed", "off")
    assert room.state == "admitted"


def test_publishing_needs_the_right_of_each_source() -> None:
    clinic = Clinic()
    room, patient, _ = clinic.come("pat", "patient", admitted=True)
    with refused("not-allowed"):
        room.media.negotiate(patient, BOTH, {"1": Published(Source.SCREEN)}, {})
    with refused("bad-message"):
        room.media.negotiate(patient, BOTH, {"1": Published(Source.MICROPHONE)}, {})
    _, ear_only, _ = clinic.come("int", "interpreter", admitted=True, rights=[Right.AUDIO])
    with refused("not-allowed"):
        room.media.negotiate(ear_only, BOTH, {}, {})
    room.media.negotiate(ear_only, offer(("audio", "sendrecv")), {}, {})
    assert clinic.relay.peer("int").calls[0][3] == frozenset({"audio"})
    with refused("codec"):
        room.media.negotiate(patient, offer(("audio", "sendrecv"), codec="bad-codec/90000"), {}, {})


def test_muting() -> None:
    clinic = Clinic()
    room, doctor, _ = clinic.come("doc")
    _, patient, hears = clinic.come("pat", "patient", admitted=True)
    room.media.negotiate(patient, BOTH, {}, {})
    room.media.negotiate(doctor, BOTH, {}, {})
    own, other = (next(t.id for t in room.media.tracks.values() if t.participant == id) for id in ("pat", "doc"))
    room.media.mute(doctor, own, True)
    assert hears.last("muted")["by"] == "doc"
    with refused("not-allowed"):
        room.media.mute(doctor, own, False)
    with refused("not-allowed"):
        room.media.mute(patient, other, True)
    room.media.mute(patient, own, False)
    assert [c for c in clinic.relay.peer("pat").calls if c[0] == "mute"] == [("mute", own, True), ("mute", own, False)]
    with refused("unknown-track"):
        room.media.mute(patient, "t99", True)


def test_a_publisher_says_whether_its_machine_or_its_link_holds_it_back() -> None:
    clinic = Clinic()
    room, doctor, sees = clinic.come("doc")
    _, patient, own = clinic.come("pat", "patient", admitted=True)
    room.media.negotiate(patient, BOTH, {}, {})
    mine = next(t.id for t in room.media.tracks.values() if t.participant == "pat" and t.kind == "video")

    def told(ear: FakeEar) -> list[str]:
        return [m["track"]["limited"] for m in ear.heard if m["type"] == "track-changed"]

    room.media.limited(patient, mine, "device")
    assert sees.last("track-changed")["track"]["limited"] == "device"
    room.media.limited(patient, mine, "device")  # again: nothing new to anybody
    assert (told(sees), told(own)) == (["device"], [])
    # What the relay says of the track afterwards does not wipe it out, and who comes later is told.
    room.media.mute(patient, mine, True)
    room.media.added(replace(room.media.tracks[mine], codec="VP9", limited=""))
    assert told(sees) == ["device", "device", "device"]
    assert room.media.record(room.media.tracks[mine], doctor)["limited"] == "device"
    room.media.limited(patient, mine, "")
    assert sees.last("track-changed")["track"]["limited"] == ""
    with refused("not-allowed"):
        room.media.limited(doctor, mine, "link")
    with refused("unknown-track"):
        room.media.limited(patient, "t99", "link")


def test_whep_lines_are_filled_when_somebody_publishes() -> None:
    clinic = Clinic()
    room, watcher, _ = clinic.come("eye", "watcher", "whep", admitted=True)
    watcher.watch = {"0": "audio", "1": "video"}
    room.media.negotiate(watcher, WATCH, {}, {})
    _, doctor, _ = clinic.come("doc")
    room.media.negotiate(doctor, BOTH, {}, {})
    peer = clinic.relay.peer("eye")
    assert {mid: room.media.tracks[id or ""].kind for mid, id in peer.bound.items()} == {"0": "audio", "1": "video"}
    _, device, _ = clinic.come("us", "device", "whip", main=True)
    room.media.negotiate(device, offer(("video", "sendonly")), {}, {})
    assert room.media.main() == "us"
    assert peer.bound["0"] is None
    room.leave(device, "left")
    assert room.media.tracks[peer.bound["1"] or ""].participant == "doc"


def test_a_peer_that_is_gone_says_nothing_any_more() -> None:
    clinic = Clinic()
    room, patient, hears = clinic.come("pat", "patient", admitted=True)
    room.media.negotiate(patient, BOTH, {}, {})
    old = clinic.relay.peer("pat")
    track = next(iter(old.published.values()))
    room.media.close(patient)
    count = len(hears.heard)
    old.listener.on_track(track)
    old.listener.on_state(PeerState.CLOSED)
    old.listener.on_quality(Quality(2.0))
    old.listener.on_data("vitals", b"x")
    assert len(hears.heard) == count
    assert not room.media.tracks


def test_one_whose_peer_the_relay_gave_up_is_told_to_begin_anew() -> None:
    clinic = Clinic()
    room, patient, hears = clinic.come("pat", "patient", admitted=True)
    room.media.negotiate(patient, BOTH, {}, {})
    clinic.relay.peer("pat").listener.on_state(PeerState.CLOSED)
    assert hears.types()[-1] == "media-lost"
    assert patient.peer is None
    room.media.negotiate(patient, BOTH, {}, {})
    assert len(room.media.tracks) == 2


def test_the_chat_is_bounded_in_messages_and_in_length() -> None:
    clinic = Clinic(chat_messages=50)
    room, doctor, _ = clinic.come("doc")
    for n in range(60):
        room.write(doctor, f"{n}")
    assert [m["text"] for m in room.chat.messages] == [f"{n}" for n in range(10, 60)]
    for _ in range(50):
        room.write(doctor, "x" * 4000)
    assert sum(len(m["text"]) for m in room.chat.messages) <= 131_072
    assert room.chat.messages[-1]["id"] == 110


def test_quality_is_kept_and_told() -> None:
    clinic = Clinic()
    room, patient, hears = clinic.come("pat", "patient", admitted=True)
    _, _, ear = clinic.come("doc")
    room.media.negotiate(patient, BOTH, {}, {})
    listener = clinic.relay.peer("pat").listener
    clinic.time += 20
    listener.on_quality(Quality(2.0, sent_lost=0.1, round_trip_ms=100, mos=4.0))
    listener.on_quality(Quality(2.0, sent_lost=0.3, round_trip_ms=300, mos=2.0))
    patient.summary.report(2, 1.5)
    assert hears.types().count("quality") == 2
    assert ear.types().count("quality") == 1
    room.leave(patient, "left")
    kept = clinic.of("left")[0]["quality"]
    assert (kept["lost"], kept["lost_max"], kept["round_trip_ms"]) == (0.2, 0.3, 200)
    assert (kept["mos"], kept["mos_min"], kept["freezes"]) == (3.0, 2.0, 2)


def test_data_and_speakers_reach_the_others() -> None:
    clinic = Clinic()
    room, one, hears = clinic.come("one")
    _, two, _ = clinic.come("two")
    for who in (one, two):
        room.media.negotiate(who, BOTH, {}, {})
    clinic.relay.peer("one").listener.on_data("vitals", b"1")
    assert ("data", "vitals", "one", b"1") in clinic.relay.peer("two").calls
    assert not any(call[0] == "data" for call in clinic.relay.peer("one").calls)
    clinic.relay.listeners["r"].on_speakers("r", {"two": -20.0})
    assert hears.last("speakers")["levels"] == {"two": -20.0}


def test_data_is_of_those_who_may_write_or_publish_and_under_a_plain_label() -> None:
    clinic = Clinic()
    room, doctor, _ = clinic.come("doc")
    _, device, _ = clinic.come("device", "device")
    _, mute, _ = clinic.come("mute", "watcher", rights=[], admitted=True)
    _, watcher, _ = clinic.come("watcher", "watcher", admitted=True)
    clinic.come("waits", "patient")
    for who in (doctor, device):
        room.media.negotiate(who, BOTH, {}, {})
    for who in (mute, watcher):
        room.media.negotiate(who, WATCH, {}, {})

    def heard(sender: str, label: str = "vitals") -> set[str]:
        for peer in clinic.relay.peers:
            peer.calls.clear()
        clinic.relay.peer(sender).listener.on_data(label, b"1")
        return {peer.participant for peer in clinic.relay.peers if ("data", label, sender, b"1") in peer.calls}

    assert heard("device") == {"doc", "mute", "watcher"}
    assert heard("watcher") == {"doc", "device", "mute"}
    assert heard("mute") == set()
    assert heard("doc", "f" * 40) == {"device", "mute", "watcher"}
    for label in ("", "f" * 41, "Vitals", "file\n", "channel closed", "tệp"):
        assert heard("doc", label) == set()
    watcher.via = "whep"
    assert heard("doc") == {"device", "mute"}


def test_a_media_interruption_shows_although_signalling_lives() -> None:
    clinic = Clinic()
    room, one, _ = clinic.come("one")
    _, two, hears = clinic.come("two")
    for who in (one, two):
        room.media.negotiate(who, BOTH, {}, {})
        clinic.relay.peer(who.id).listener.on_state(PeerState.CONNECTED)
    assert room.state == "live"
    clinic.relay.peer("one").listener.on_state(PeerState.INTERRUPTED)
    assert (room.state, hears.last("changed")["participant"]["link"]) == ("interrupted", "down")
    clinic.later(3600)
    assert "one" in room.participants
    clinic.relay.peer("one").listener.on_state(PeerState.CONNECTED)
    assert room.state == "live"


def test_a_device_that_never_connects_leaves() -> None:
    clinic = Clinic(grace_seconds=60)
    room, device, ear = clinic.come("us", "device", "whip")
    room.media.negotiate(device, BOTH, {}, {})
    clinic.relay.peer("us").listener.on_state(PeerState.CONNECTED)
    clinic.later(600)
    assert room.participants
    clinic.relay.peer("us").listener.on_state(PeerState.INTERRUPTED)
    clinic.later(60)
    assert not room.participants
    assert ear.code == 1000


def test_a_room_survives_as_plain_json() -> None:
    clinic = Clinic()
    room, doctor, _ = clinic.come("doc")
    _, patient, _ = clinic.come("pat", "patient", admitted=True)
    clinic.come("us", "device", "whip")
    clinic.come("bad", "patient")
    clinic.time += 1
    room.refuse(doctor, "bad")
    room.write(patient, "Tôi đau đầu")
    room.media.negotiate(patient, BOTH, {}, {})
    room.record_on(doctor, True)
    room.consent(patient, True)
    clinic.come("x", room="gone")
    clinic.rooms.end("gone")
    saved = json.loads(json.dumps(clinic.rooms.snapshot()))
    assert clinic.rooms.changed()
    assert not clinic.rooms.changed()
    clinic.rooms = clinic.anew()
    clinic.hooks.clear()
    clinic.rooms.restore(saved)
    back = clinic.rooms.rooms["r"]
    assert set(back.participants) == {"doc", "pat"}
    assert back.state == "interrupted"
    assert back.recording.state == "paused"
    with refused("removed"):
        clinic.come("bad", "patient", issued=int(clinic.time))
    with refused("ended"):
        clinic.come("x", room="gone")
    _, patient, _ = clinic.come("pat", "patient")
    assert patient.admitted
    assert back.view(patient)["chat"][0]["text"] == "Tôi đau đầu"
    assert clinic.hooks == [("on", ["doc", "pat"])]
    back.write(patient, "còn đây")
    assert back.chat.messages[-1]["id"] == 2
    clinic.later(60)
    assert set(back.participants) == {"pat"}


@pytest.mark.parametrize("broken", [{}, {"rooms": [{}]}, {"rooms": [{"id": "r", "since": "x"}]}, {"rooms": [None]}])
def test_a_state_that_cannot_be_read_leaves_the_relay_running(broken: dict[str, Any]) -> None:
    clinic = Clinic()
    clinic.rooms.restore(broken)
    clinic.come("doc")


def test_a_sink_that_fails_does_not_touch_the_room() -> None:
    clinic = Clinic()

    def fail(event: dict[str, Any]) -> None:
        raise RuntimeError("hub away")

    clinic.rooms = Rooms(clinic.relay, clinic.settings, fail, clinic.hook)
    assert clinic.come("doc")[1].admitted


def test_watchers_are_counted_at_most_once_a_second() -> None:
    clinic = Clinic()
    _, _, ear = clinic.come("doc")
    for n in range(5):
        clinic.come(f"w{n}", "watcher", admitted=True)
    assert "joined" not in ear.types()
    clinic.later(1)
    clinic.later(0.5)
    assert [m["count"] for m in ear.heard if m["type"] == "watchers"] == [5]
