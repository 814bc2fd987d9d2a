"""The m-lines of an offer: which mid is of which kind and sends or receives. Everything else in the SDP is the relay's."""

from dataclasses import dataclass

from telemed.rooms.refused import Refused

MAX_CHARS, MAX_LINES = 65_536, 128
_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})


@dataclass(slots=True)
class MLine:
    """`kind`: audio, video, application; `direction` as in RFC 8866 6.7."""

    kind: str
    mid: str = ""
    direction: str = "sendrecv"

    @property
    def sends(self) -> bool:
        return self.kind in ("audio", "video") and self.direction in ("sendrecv", "sendonly")

    @property
    def receives(self) -> bool:
        return self.kind in ("audio", "video") and self.direction in ("sendrecv", "recvonly")


def mlines(sdp: str) -> list[MLine]:
    """In their order.

    Raises Refused("sdp").
    """
    if len(sdp) > MAX_CHARS:
        raise Refused("sdp", f"more than {MAX_CHARS} characters")
    if not sdp.startswith("v=0"):
        raise Refused("sdp", "does not begin with v=0")
    found: list[MLine] = []
    session = "sendrecv"  # a direction above the first m-line holds for all (RFC 8866 6.7)
    for line in sdp.splitlines():
        if line.startswith("m="):
            if len(found) == MAX_LINES:
                raise Refused("sdp", f"more than {MAX_LINES} m-lines")
            found.append(MLine(line[2:].split(" ", 1)[0], direction=session))
        elif line.startswith("a=mid:") and found:
            found[-1].mid = line[6:].strip()
        elif line.startswith("a=") and line[2:].strip() in _DIRECTIONS:
            if found:
                found[-1].direction = line[2:].strip()
            else:
                session = line[2:].strip()
    if not found:
        raise Refused("sdp", "no m-line")
    mids = [line.mid for line in found]
    if not all(mids) or len(set(mids)) != len(mids):
        raise Refused("sdp", "each m-line needs its own a=mid")
    return found
