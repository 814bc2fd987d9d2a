"""The m-lines of an offer, as far as a room looks at them: which mid is of which kind and sends or receives."""

from telemed.rooms.refused import Refused
from telemed.wire import sdp

MAX_CHARS, MAX_LINES = 65_536, 128


def mlines(text: str) -> list[sdp.Media]:
    """In their order.

    Raises Refused("sdp").
    """
    if len(text) > MAX_CHARS:
        raise Refused("sdp", f"more than {MAX_CHARS} characters")
    try:
        found = sdp.parse(text).media
    except sdp.SdpError as e:
        raise Refused("sdp", str(e)) from None
    if len(found) > MAX_LINES:
        raise Refused("sdp", f"more than {MAX_LINES} m-lines")
    if not found:
        raise Refused("sdp", "no m-line")
    mids = [line.mid for line in found]
    if not all(mids) or len(set(mids)) != len(mids):
        raise Refused("sdp", "each m-line needs its own a=mid")
    return found
