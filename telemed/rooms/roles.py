"""Roles and rights, and which rights a role has when its token names none."""

from enum import StrEnum
from typing import get_args

from telemed.ports import Kind, Source


class Role(StrEnum):
    """What a participant is in the consultation."""

    PATIENT = "patient"
    CARER = "carer"
    NURSE = "nurse"
    DOCTOR = "doctor"
    SPECIALIST = "specialist"
    INTERPRETER = "interpreter"
    OBSERVER = "observer"
    WATCHER = "watcher"  # one of many at a case conference; counted, not listed
    DEVICE = "device"


class Right(StrEnum):
    """What a participant may do."""

    AUDIO = "audio"
    VIDEO = "video"
    SCREEN = "screen"
    CHAT = "chat"
    ADMIT = "admit"
    MUTE = "mute"
    REMOVE = "remove"
    RECORD = "record"
    END = "end"


PUBLISH = frozenset({Right.AUDIO, Right.VIDEO, Right.SCREEN})
_SPEAK = frozenset({Right.AUDIO, Right.VIDEO, Right.CHAT})
DEFAULTS: dict[Role, frozenset[Right]] = {
    Role.PATIENT: _SPEAK,
    Role.CARER: _SPEAK,
    Role.NURSE: _SPEAK | {Right.SCREEN},
    Role.DOCTOR: frozenset(Right),
    Role.SPECIALIST: _SPEAK | {Right.SCREEN, Right.ADMIT, Right.MUTE},
    Role.INTERPRETER: _SPEAK,
    Role.OBSERVER: frozenset({Right.CHAT}),
    Role.WATCHER: frozenset({Right.CHAT}),
    Role.DEVICE: frozenset({Right.AUDIO, Right.VIDEO}),
}
STRAIGHT_IN = frozenset({Role.DOCTOR, Role.SPECIALIST, Role.DEVICE})  # who never waits
NEEDED: dict[Source, frozenset[Right]] = {  # any one of them lets a source be published
    Source.MICROPHONE: frozenset({Right.AUDIO}),
    Source.CAMERA: frozenset({Right.VIDEO}),
    Source.SCREEN: frozenset({Right.SCREEN}),
    Source.SCREEN_AUDIO: frozenset({Right.SCREEN}),
    Source.DEVICE: frozenset({Right.AUDIO, Right.VIDEO}),
}


def kinds(rights: frozenset[Right]) -> frozenset[str]:
    """Kinds of track that these rights let someone publish."""
    found = set()
    if rights & {Right.AUDIO, Right.SCREEN}:
        found.add("audio")
    if rights & {Right.VIDEO, Right.SCREEN}:
        found.add("video")
    assert found <= set(get_args(Kind))
    return frozenset(found)
