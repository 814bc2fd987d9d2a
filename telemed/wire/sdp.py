"""Session descriptions (RFC 8866) as WebRTC offers use them (RFC 9429): read into records, with bounds on everything."""

from dataclasses import dataclass, field
from typing import Final

from telemed.wire.errors import WireError

MAX_BYTES: Final = 256 << 10
MAX_LINES: Final = 8000
MAX_ITEMS: Final = 128  # codecs, extensions, SSRCs, groups of one m-line
DIRECTIONS: Final = frozenset(("sendonly", "recvonly", "sendrecv", "inactive"))


class SdpError(WireError):
    """What is wrong with a description, and in which line of it."""


@dataclass(slots=True)
class Codec:
    """A payload type of an m-line (a=rtpmap, a=fmtp, a=rtcp-fb)."""

    pt: int
    name: str = ""
    clock: int = 0
    channels: int = 1
    fmtp: dict[str, str] = field(default_factory=dict)
    feedback: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Extension:
    """A header extension (a=extmap, RFC 8285)."""

    id: int
    uri: str


@dataclass(slots=True)
class Transport:
    """What stands at the session or at an m-line and speaks of the transport."""

    ufrag: str = ""
    pwd: str = ""
    fingerprints: list[tuple[str, str]] = field(default_factory=list)
    setup: str = ""
    mixed: bool = False  # header extensions of both forms in one stream (RFC 8285 6); it stands at either, too


@dataclass(slots=True)
class Media(Transport):
    """One m-line and its attributes."""

    kind: str = ""
    port: int = 0
    protocol: str = ""
    formats: list[str] = field(default_factory=list)
    mid: str = ""
    direction: str = "sendrecv"
    codecs: list[Codec] = field(default_factory=list)
    extensions: list[Extension] = field(default_factory=list)
    simulcast_send: list[str] = field(default_factory=list)  # rids in the order of a=simulcast
    ssrcs: dict[int, dict[str, str]] = field(default_factory=dict)
    ssrc_groups: list[tuple[str, list[int]]] = field(default_factory=list)
    rtcp_mux: bool = False
    rtcp_rsize: bool = False
    bundle_only: bool = False
    sctp_port: int = 0
    max_message_size: int = 65536  # when it is not said (RFC 8841 6.1); 0: any

    @property
    def sends(self) -> bool:
        """Sound or pictures come from who wrote the description."""
        return self.kind in ("audio", "video") and self.direction in ("sendrecv", "sendonly")

    @property
    def receives(self) -> bool:
        """Sound or pictures go to who wrote the description."""
        return self.kind in ("audio", "video") and self.direction in ("sendrecv", "recvonly")


@dataclass(slots=True)
class Session(Transport):
    """A whole description. `direction`: of m-lines that name none of their own (RFC 8866 6.7)."""

    direction: str = "sendrecv"
    groups: list[tuple[str, list[str]]] = field(default_factory=list)
    media: list[Media] = field(default_factory=list)


def parse(text: str) -> Session:
    """A description. Raises SdpError with the number of the line that cannot be read."""
    if len(text) > MAX_BYTES:
        raise SdpError(f"SDP: longer than {MAX_BYTES} characters")
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        raise SdpError(f"SDP: more than {MAX_LINES} lines")
    if not lines or lines[0].strip() != "v=0":
        raise SdpError("SDP: line 1 is not v=0")
    session = Session()
    media: Media | None = None
    for number, line in enumerate(lines, 1):
        kind, equals, value = line.strip().partition("=")
        if not kind and not equals:
            continue
        if len(kind) != 1 or not equals:
            raise SdpError(f"SDP: line {number} is not x=...")
        try:
            if kind == "m":
                media = _media(value, session.direction)
                session.media.append(media)
            elif kind == "a":
                name, _, rest = value.partition(":")
                _transport(media or session, name, rest)
                if media is None:
                    if name == "group":
                        words = rest.split()
                        session.groups.append((words[0], words[1:]))
                    elif name in DIRECTIONS:
                        session.direction = name
                else:
                    _attribute(media, name, rest)
        except (ValueError, IndexError):
            raise SdpError(f"SDP: line {number} ({kind}={value[:40]}) cannot be read") from None
    return session


def _media(value: str, direction: str) -> Media:
    kind, port, protocol, *formats = value.split()
    if len(formats) > MAX_ITEMS:
        raise ValueError
    media = Media(kind=kind, port=_number(port.partition("/")[0], 65535), protocol=protocol, formats=formats, direction=direction)
    if "RTP" in protocol:
        media.codecs = [Codec(_number(text, 127)) for text in formats]
    return media


def _number(text: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:12]) > most or len(text) > 12:
        raise ValueError(text)
    return int(text)


def _transport(to: Transport, name: str, value: str) -> None:
    if name == "ice-ufrag":
        to.ufrag = value.strip()
    elif name == "ice-pwd":
        to.pwd = value.strip()
    elif name == "fingerprint":
        algorithm, digest = value.split()
        if len(to.fingerprints) < 8:
            to.fingerprints.append((algorithm, digest))
    elif name == "setup":
        to.setup = value.strip()
    elif name == "extmap-allow-mixed":
        to.mixed = True


def _attribute(media: Media, name: str, value: str) -> None:
    if name in DIRECTIONS:
        media.direction = name
    elif name == "mid":
        media.mid = value.strip()[:64]
    elif name == "rtcp-mux":
        media.rtcp_mux = True
    elif name == "rtcp-rsize":
        media.rtcp_rsize = True
    elif name == "bundle-only":
        media.bundle_only = True
    elif name == "sctp-port":
        media.sctp_port = _number(value.strip(), 65535)
    elif name == "max-message-size":
        media.max_message_size = _number(value.strip(), 1 << 33)
    elif name in ("rtpmap", "fmtp", "rtcp-fb"):
        _codec(media, name, value)
    elif name == "extmap":
        words = value.split()
        if len(media.extensions) < MAX_ITEMS:
            media.extensions.append(Extension(_number(words[0].partition("/")[0], 255), words[1]))
    elif name == "ssrc":
        ssrc, _, attribute = value.partition(" ")
        if len(media.ssrcs) < MAX_ITEMS:
            key, _, content = attribute.partition(":")
            media.ssrcs.setdefault(_number(ssrc, 0xFFFFFFFF), {})[key] = content
    elif name == "ssrc-group":
        words = value.split()
        if len(media.ssrc_groups) < MAX_ITEMS:
            media.ssrc_groups.append((words[0], [_number(word, 0xFFFFFFFF) for word in words[1:9]]))
    elif name == "simulcast":
        words = value.split()
        # RFC 8853 5.1: alternatives by commas, paused ones by a tilde; the first alternative is what is sent.
        for direction, rids in zip(words[::2], words[1::2], strict=False):
            if direction == "send":
                media.simulcast_send = [rid.split(",")[0].lstrip("~") for rid in rids.split(";")][:MAX_ITEMS]


def _codec(media: Media, name: str, value: str) -> None:
    number, _, rest = value.strip().partition(" ")
    fitting = media.codecs if number == "*" else [c for c in media.codecs if c.pt == _number(number, 127)]
    for codec in fitting:
        if name == "rtpmap":
            words = rest.split("/")
            codec.name, codec.clock = words[0], _number(words[1], 10_000_000)
            codec.channels = _number(words[2], 255) if len(words) > 2 else 1
        elif name == "rtcp-fb" and len(codec.feedback) < MAX_ITEMS:
            codec.feedback.append(rest)
        elif name == "fmtp":
            for part in rest.split(";")[:MAX_ITEMS]:
                key, _, content = part.strip().partition("=")
                if key:
                    codec.fmtp[key] = content
