"""From an offer to what was agreed and its answer (RFC 9429, RFC 8843 BUNDLE, RFC 8853 simulcast). Pure: nothing is changed here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from telemed.ports import Kind, MediaError, Published
from telemed.relay import sctp
from telemed.relay.dependency import DEPENDENCY
from telemed.relay.track import Format
from telemed.wire import sdp

# Codecs that pass; nothing is decoded, so this is what we know keyframes of.
AUDIO: Final = frozenset(("opus", "red"))
VIDEO: Final = frozenset(("vp8", "vp9", "h264", "av1"))
TRANSPORT_WIDE: Final = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
AUDIO_LEVEL: Final = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
MID: Final = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID: Final = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID: Final = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
# Others are left out on purpose: without video-orientation a phone turns its picture itself, without abs-send-time a packet is
# 4 bytes smaller.
FROM_PUBLISHER: Final = {"audio": (MID, TRANSPORT_WIDE, AUDIO_LEVEL), "video": (MID, RID, REPAIRED_RID, TRANSPORT_WIDE, DEPENDENCY)}
TO_SUBSCRIBER: Final = {"audio": (TRANSPORT_WIDE, AUDIO_LEVEL), "video": (TRANSPORT_WIDE, DEPENDENCY)}
FEEDBACK: Final = {"audio": ("nack", "transport-cc"), "video": ("nack", "nack pli", "ccm fir", "goog-remb", "transport-cc")}
MAX_LINES: Final = 256  # m-lines of one offer: 200 watchers see a few; 12 people publish up to four tracks each
MAX_RIDS: Final = 4


@dataclass(slots=True)
class Line:
    """One m-line as it was agreed. `use` is the relay's: receive = the client publishes, send = it subscribes, data = data channels."""

    mid: str
    use: Literal["receive", "send", "data", "none"]
    kind: Kind = "audio"
    formats: list[Format] = field(default_factory=list)
    rtx: dict[int, int] = field(default_factory=dict)  # RTX payload type -> its apt
    extensions: dict[str, int] = field(default_factory=dict)
    mixed: bool = False  # long elements may come among short ones (RFC 8285 6)
    rids: tuple[str, ...] = ()
    ssrcs: dict[int, int] = field(default_factory=dict)  # ssrc announced in the offer -> ssrc it resends (RTX), 0: media
    offered: sdp.Media | None = None
    feedback: dict[int, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """All of an offer that the relay needs."""

    ufrag: str
    password: str
    fingerprints: list[tuple[str, str]]
    server: bool  # whether the relay is the DTLS server
    lines: list[Line]


def read(offer: str, publish: Mapping[str, Published], kinds: frozenset[str]) -> Plan:
    """Raises MediaError: `sdp` (what is wrong, and where), `codec` (nothing in common), `not-allowed` (kind may not be published)."""
    try:
        session = sdp.parse(offer)
    except sdp.SdpError as e:
        raise MediaError("sdp", str(e)) from None
    if not session.media:
        raise MediaError("sdp", "the offer has no m-line")
    if len(session.media) > MAX_LINES:
        raise MediaError("sdp", f"more than {MAX_LINES} m-lines")
    bundle = next((members for kind, members in session.groups if kind == "BUNDLE"), None)
    if bundle is None and len(session.media) > 1:
        raise MediaError("sdp", "an offer of several m-lines needs a=group:BUNDLE; one transport carries them all")
    mids = [m.mid for m in session.media]
    if any(not mid for mid in mids) or len(set(mids)) != len(mids):
        raise MediaError("sdp", "every m-line needs an a=mid of its own")
    head = next((m for m in session.media if bundle is None or m.mid in bundle), session.media[0])
    ufrag, password = head.ufrag or session.ufrag, head.pwd or session.pwd
    if not 4 <= len(ufrag) <= 256 or not 22 <= len(password) <= 256:
        raise MediaError("sdp", "a=ice-ufrag of 4 and a=ice-pwd of 22 characters at least are needed (RFC 8839 5.4)")
    fingerprints = list(head.fingerprints or session.fingerprints)
    if not any(algorithm.lower() in ("sha-256", "sha-384", "sha-512") for algorithm, _ in fingerprints):
        raise MediaError("sdp", "an a=fingerprint of sha-256, sha-384 or sha-512 is needed")
    setup = head.setup or session.setup or "actpass"
    if setup not in ("actpass", "active", "passive"):
        raise MediaError("sdp", f"a=setup:{setup} cannot be answered")
    plan = Plan(ufrag, password, fingerprints, setup != "passive", [])
    for media in session.media:
        if bundle is not None and media.mid not in bundle:
            plan.lines.append(Line(media.mid, "none", offered=media))
        elif media.kind == "application":
            first = all(line.use != "data" for line in plan.lines)
            plan.lines.append(Line(media.mid, "data" if first and _channels(media) else "none", offered=media))
        else:
            plan.lines.append(_media(media, publish, kinds, session.mixed))
    return plan


def _channels(media: sdp.Media) -> bool:
    """Whether an m-line offers data channels in the way that there is (RFC 8841); port 0 of SCTP: no association."""
    there = media.port or media.bundle_only
    return bool(there and media.sctp_port and media.protocol.endswith("/DTLS/SCTP") and media.formats == ["webrtc-datachannel"])


def _media(media: sdp.Media, publish: Mapping[str, Published], kinds: frozenset[str], mixed: bool) -> Line:
    line = Line(media.mid, "none", offered=media)
    # A port of 0 without bundle-only is an m-line that was stopped (RFC 8843 7.3.4).
    if media.kind not in ("audio", "video") or (not media.port and not media.bundle_only):
        return line
    if "SAVP" not in media.protocol or not media.rtcp_mux:
        raise MediaError("sdp", f"m-line {media.mid}: UDP/TLS/RTP/SAVPF with a=rtcp-mux is needed, not {media.protocol}")
    line.kind = kind = "audio" if media.kind == "audio" else "video"
    if media.sends and media.mid in publish:
        line.use = "receive"
    elif media.receives:
        line.use = "send"
    else:
        return line
    if line.use == "receive" and kind not in kinds:
        raise MediaError("not-allowed", f"m-line {media.mid}: {kind} may not be published")
    _codecs(media, line)
    if not line.formats:
        if line.use == "receive":
            names = ", ".join(sorted({c.name for c in media.codecs})) or "nothing"
            raise MediaError("codec", f"m-line {media.mid}: {names} offered; {', '.join(sorted(AUDIO if kind == 'audio' else VIDEO))} pass")
        line.use = "none"
        return line
    wanted = FROM_PUBLISHER if line.use == "receive" else TO_SUBSCRIBER
    line.extensions = {e.uri: e.id for e in media.extensions if e.uri in wanted[kind] and 1 <= e.id <= 14}
    if DEPENDENCY in line.extensions:
        # Browsers write it beside any codec that they send, for a few bytes a packet: it is agreed to where it will be read. What it
        # announces at a keyframe is too long for a short element.
        read_of = [f.name for f in line.formats[: 1 if line.use == "receive" else None]]
        line.mixed = (media.mixed or mixed) and "av1" in read_of
        if not line.mixed:
            del line.extensions[DEPENDENCY]
    if line.use == "receive" and kind == "video":
        sent = media.simulcast_send
        # Without both extensions there is no telling whose packet it is (RFC 8853 5.4).
        if sent and RID in line.extensions and MID in line.extensions:
            line.rids = tuple(sent[:MAX_RIDS])
    for ssrc in list(media.ssrcs)[:16]:
        line.ssrcs[ssrc] = 0
    for semantics, members in media.ssrc_groups:
        if semantics == "FID" and len(members) == 2 and members[1] in line.ssrcs:
            line.ssrcs[members[1]] = members[0]
    return line


def _codecs(media: sdp.Media, line: Line) -> None:
    known = AUDIO if line.kind == "audio" else VIDEO
    numbers: set[int] = set()
    for codec in media.codecs:
        name = codec.name.lower()
        if name in known and codec.pt not in numbers and len(numbers) < 32:
            numbers.add(codec.pt)
            line.formats.append(Format(codec.pt, name, codec.clock, codec.channels or 1, dict(codec.fmtp)))
            line.feedback[codec.pt] = [f for f in codec.feedback if f in FEEDBACK[line.kind]]
    opus = {str(f.payload_type) for f in line.formats if f.name == "opus"}
    # Redundant sound (RFC 2198) of anything but this m-line's Opus is none that is known.
    line.formats = [f for f in line.formats if f.name != "red" or (f.parameters and {*"/".join(f.parameters).split("/")} <= opus)]
    numbers = {f.payload_type for f in line.formats}
    for codec in media.codecs:
        if codec.name.lower() == "rtx" and codec.fmtp.get("apt", "").isdigit() and int(codec.fmtp["apt"]) in numbers:
            line.rtx[codec.pt] = int(codec.fmtp["apt"])


@dataclass(frozen=True, slots=True)
class Sending:
    """What the relay says of an m-line that it sends on: its SSRCs and whose track it is."""

    ssrc: int
    rtx_ssrc: int
    cname: str
    stream: str
    track: str


@dataclass(frozen=True, slots=True)
class Local:
    """The relay's own side of an answer."""

    session: int
    version: int
    ufrag: str
    password: str
    fingerprint: str
    candidates: tuple[str, ...]


def answer(plan: Plan, local: Local, sending: Mapping[str, Sending]) -> str:
    """The answer's text, an m-line for each of the offer's (RFC 3264 6)."""
    bundled = [line.mid for line in plan.lines if line.use != "none"]
    out = ["v=0", f"o=- {local.session} {local.version} IN IP4 127.0.0.1", "s=-", "t=0 0"]
    if bundled:
        out.append("a=group:BUNDLE " + " ".join(bundled))
    out += ["a=ice-lite", "a=msid-semantic: WMS *"]
    for line in plan.lines:
        offered = line.offered
        assert offered is not None
        if line.use == "none":
            out += [f"m={offered.kind} 0 {offered.protocol} {' '.join(offered.formats[:1]) or '0'}", "c=IN IP4 0.0.0.0"]
            out.append(f"a=mid:{line.mid}")
            if offered.kind in ("audio", "video"):
                out.append("a=inactive")
            continue
        numbers = [f.payload_type for f in line.formats] + list(line.rtx)
        formats = "webrtc-datachannel" if line.use == "data" else " ".join(map(str, numbers))
        out += [f"m={offered.kind} 9 {offered.protocol} {formats}", "c=IN IP4 0.0.0.0"]
        if line.use != "data":
            out.append("a=rtcp:9 IN IP4 0.0.0.0")
        out += [f"a=ice-ufrag:{local.ufrag}", f"a=ice-pwd:{local.password}", f"a=fingerprint:{local.fingerprint}"]
        out += [f"a=setup:{'passive' if plan.server else 'active'}", f"a=mid:{line.mid}"]
        if line.mid in (bundled[0], bundled[-1]):  # RFC 8843 has them on the first alone; aiortc keeps those of a transport's last m-line
            out += [f"a={candidate}" for candidate in local.candidates]
            out.append("a=end-of-candidates")
        if line.use == "data":
            out += [f"a=sctp-port:{sctp.PORT}", f"a=max-message-size:{sctp.MAX_MESSAGE}"]
        else:
            out += _media_lines(line, sending.get(line.mid))
    return "\r\n".join(out) + "\r\n"


def _media_lines(line: Line, sending: Sending | None) -> list[str]:
    out = [f"a=extmap:{number} {uri}" for uri, number in line.extensions.items()]
    if line.mixed:
        out.append("a=extmap-allow-mixed")
    out += ["a=recvonly" if line.use == "receive" else "a=sendonly", "a=rtcp-mux"]
    if line.offered is not None and line.offered.rtcp_rsize:
        out.append("a=rtcp-rsize")
    for f in line.formats:
        channels = f"/{f.channels}" if f.channels > 1 else ""
        out.append(f"a=rtpmap:{f.payload_type} {f.written}/{f.clock}{channels}")
        out += [f"a=rtcp-fb:{f.payload_type} {kind}" for kind in line.feedback.get(f.payload_type, ())]
        # Asked of who sends sound: redundancy inside its packets for loss, silence not sent (RFC 7587 7.1).
        parameters = {**f.parameters, "useinbandfec": "1", "usedtx": "1"} if f.name == "opus" and line.use == "receive" else f.parameters
        if parameters:
            out.append(f"a=fmtp:{f.payload_type} " + ";".join(f"{k}={v}" if v else k for k, v in parameters.items()))
    for number, apt in line.rtx.items():
        clock = next(f.clock for f in line.formats if f.payload_type == apt)
        out += [f"a=rtpmap:{number} rtx/{clock}", f"a=fmtp:{number} apt={apt}"]
    if line.rids:
        out += [f"a=rid:{rid} recv" for rid in line.rids]
        out.append("a=simulcast:recv " + ";".join(line.rids))
    if sending is not None:
        out.append(f"a=msid:{sending.stream} {sending.track}")
        if sending.rtx_ssrc:
            out.append(f"a=ssrc-group:FID {sending.ssrc} {sending.rtx_ssrc}")
        out.append(f"a=ssrc:{sending.ssrc} cname:{sending.cname}")
        if sending.rtx_ssrc:
            out.append(f"a=ssrc:{sending.rtx_ssrc} cname:{sending.cname}")
    return out
