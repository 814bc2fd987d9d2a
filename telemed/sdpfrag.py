"""SDP fragments of trickle ICE over HTTP (RFC 8840, RFC 9725 4.3.3), and an ICE restart made of one."""

from dataclasses import dataclass, field

from telemed.rooms.refused import Refused

MAX_LINES = 500


@dataclass(slots=True)
class Fragment:
    """`candidates`: (mid, "candidate:..."), "" at the end of candidates."""

    ufrag: str = ""
    pwd: str = ""
    candidates: list[tuple[str, str]] = field(default_factory=list)


def parse(text: str) -> Fragment:
    """Also reads whole descriptions, whose first credentials it takes.

    Raises Refused("bad-message").
    """
    found, mid = Fragment(), ""
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        raise Refused("bad-message", f"more than {MAX_LINES} lines")
    for number, line in enumerate(lines, 1):
        name, _, value = line.partition(":")
        if line.startswith("m="):
            mid = ""
        elif name == "a=mid":
            mid = value.strip()
        elif name == "a=ice-ufrag":
            found.ufrag = found.ufrag or value.strip()
        elif name == "a=ice-pwd":
            found.pwd = found.pwd or value.strip()
        elif name == "a=candidate":
            if len(line) > 1024:
                raise Refused("bad-message", f"line {number} is too long")
            found.candidates.append((mid, line[2:].strip()))
        elif line.strip() == "a=end-of-candidates":
            found.candidates.append((mid, ""))
        elif line and (len(line) < 2 or line[1] != "="):
            raise Refused("bad-message", f"line {number} is not SDP")
    if bool(found.ufrag) != bool(found.pwd):
        raise Refused("bad-message", "ice-ufrag and ice-pwd go together")
    return found


def restarted(offer: str, fragment: Fragment) -> str:
    """The offer with new ICE credentials and without the old candidates."""
    lines = []
    for line in offer.splitlines():
        if line.startswith("a=ice-ufrag:"):
            line = f"a=ice-ufrag:{fragment.ufrag}"
        elif line.startswith("a=ice-pwd:"):
            line = f"a=ice-pwd:{fragment.pwd}"
        elif line.startswith(("a=candidate:", "a=end-of-candidates")):
            continue
        lines.append(line)
    return "\r\n".join(lines) + "\r\n"


def fragment_of(answer: str) -> str:
    """What of an answer tells an ICE restart: credentials and candidates, under the first m-line, as all are bundled."""
    part = parse(answer)
    lines = answer.splitlines()
    mline = next((line for line in lines if line.startswith("m=")), "m=audio 9 UDP/TLS/RTP/SAVPF 0")
    mid = next((line for line in lines if line.startswith("a=mid:")), "a=mid:0")
    first = mid[6:].strip()
    out = ["a=ice-lite"] if "a=ice-lite" in lines else []
    out += [f"a=ice-ufrag:{part.ufrag}", f"a=ice-pwd:{part.pwd}", mline, mid]
    out += [f"a={candidate}" for at, candidate in part.candidates if candidate and at in ("", first)]
    return "\r\n".join([*out, "a=end-of-candidates"]) + "\r\n"
