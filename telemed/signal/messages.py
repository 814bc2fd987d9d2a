"""What a client may say: every message with its fields and their bounds."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from telemed.ports import LABEL, Limit, Source
from telemed.rooms.roles import Role

DEPTH = 16  # levels of nesting
Id = Annotated[int, Meta(ge=0, le=2**53 - 1)] | Annotated[str, Meta(max_length=64)] | None
Short = Annotated[str, Meta(min_length=1, max_length=100)]
Mid = Annotated[str, Meta(min_length=1, max_length=64)]
Label = Annotated[str, Meta(pattern=rf"^{LABEL}\Z")]
Count = Annotated[float, Meta(ge=0, le=1e9)]
Token = Annotated[str, Meta(max_length=4096)]


class Bad(ValueError):
    """A message that cannot be read. `re`: its id, where that could be read."""

    def __init__(self, code: str, detail: str, re: int | str | None = None) -> None:
        super().__init__(detail)
        self.code, self.re = code, re


class _Message(Struct, tag_field="type", kw_only=True):
    id: Id = None


class Resume(Struct, frozen=True):
    token: Token
    seq: Annotated[int, Meta(ge=0, le=2**53 - 1)] = 0


class Hello(_Message, tag="hello"):
    version: int = 1
    token: Token | None = None
    client: Annotated[str, Meta(min_length=16, max_length=128)] | None = None
    resume: Resume | None = None
    agent: str = ""
    room: Short | None = None
    participant: Short | None = None
    name: Short | None = None
    role: Role | None = None


class Ping(_Message, tag="ping"):
    pass


class Leave(_Message, tag="leave"):
    pass


class Admit(_Message, tag="admit"):
    participant: Short | None = None
    all: bool = False


class Refuse(_Message, tag="refuse"):
    participant: Short


class Remove(_Message, tag="remove"):
    participant: Short


class End(_Message, tag="end"):
    pass


class Publish(Struct, frozen=True):
    source: Source
    name: Annotated[str, Meta(max_length=100)] = ""


class Offer(_Message, tag="offer"):
    sdp: Annotated[str, Meta(max_length=65_536)]
    publish: Annotated[dict[Mid, Publish], Meta(max_length=128)] = {}
    wanted: Annotated[dict[Mid, Short | None], Meta(max_length=128)] = {}


class Candidate(_Message, tag="candidate"):
    candidate: Annotated[str, Meta(max_length=1024)]
    mid: Annotated[str, Meta(max_length=64)] = ""


class Bind(_Message, tag="bind"):
    mid: Mid
    track: Short | None


class Mute(_Message, tag="mute"):
    track: Short
    muted: bool


class Limited(_Message, tag="limited"):
    track: Short
    by: Limit


class Prefer(_Message, tag="prefer"):
    track: Short
    layer: Annotated[str, Meta(max_length=32)] | None = None
    paused: bool = False
    priority: Annotated[int, Meta(ge=0, le=10)] = 5


class Report(_Message, tag="report"):
    freezes: Count = 0
    freeze_seconds: Count = 0
    frames: Count = 0
    frames_dropped: Count = 0
    concealed_seconds: Count = 0
    first_frame_ms: Count = 0


class Ice(_Message, tag="ice"):
    pass


class Chat(_Message, tag="chat"):
    text: Annotated[str, Meta(min_length=1)]


class Hand(_Message, tag="hand"):
    up: bool


class Data(_Message, tag="data"):
    label: Label
    data: Any


class Record(_Message, tag="record"):
    on: bool


class Consent(_Message, tag="consent"):
    given: bool


Message = (
    Hello | Ping | Leave | Admit | Refuse | Remove | End | Offer | Candidate | Bind | Mute | Limited | Prefer | Report | Ice | Chat | Hand
    | Data | Record | Consent
)  # fmt: skip
_decoder = msgspec.json.Decoder(Message)


class _Envelope(Struct):
    id: Id = None


_envelope = msgspec.json.Decoder(_Envelope)
_SILENT: frozenset[type] = frozenset({Candidate, Report, Leave})


def decode(raw: str) -> Message:
    """Raises Bad (codes: bad-message, unknown-type)."""
    try:
        message: Message = _decoder.decode(raw)
    except msgspec.ValidationError as error:
        code: Literal["unknown-type", "bad-message"] = "unknown-type" if str(error).endswith("`$.type`") else "bad-message"
        try:
            re = _envelope.decode(raw).id
        except (msgspec.MsgspecError, RecursionError):
            re = None
        raise Bad(code, str(error)[:200], re) from None
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise Bad("bad-message", "not JSON") from None
    if isinstance(message, Data) and not shallow(message.data):
        raise Bad("bad-message", f"nested deeper than {DEPTH}", message.id)
    return message


def shallow(value: Any) -> bool:
    """Whether it is nested no deeper than DEPTH."""
    level = [value]
    for _ in range(DEPTH):
        level = [part for one in level if isinstance(one, (dict, list)) for part in (one.values() if isinstance(one, dict) else one)]
        if not level:
            return True
    return False


def answered(message: Message) -> bool:
    """Whether its success is told by `ok` when it has an id."""
    return type(message) not in _SILENT
