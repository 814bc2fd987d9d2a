"""Answers made readable for aiortc, which wants ICE credentials and codecs of a rejected m-line too (RFC 9429 5.3.1 asks for none)."""

from typing import Final

KEPT: Final = ("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:", "a=extmap:", "a=mid:", "a=rtcp-mux")
TRANSPORT: Final = ("a=ice-ufrag:", "a=ice-pwd:", "a=ice-options:", "a=fingerprint:", "a=setup:", "a=candidate:", "a=end-of-candidates")


def complete(answer: str, offer: str) -> str:
    """The same answer, its rejected m-lines replaced by inactive ones of what was offered."""
    session, *theirs = _sections(answer)
    _, *ours = _sections(offer)
    alive = next((s for s in theirs if not _rejected(s)), None)
    if alive is None or len(ours) != len(theirs) or not any(map(_rejected, theirs)):
        return answer
    transport = [line for line in alive if line.startswith(TRANSPORT)]
    out = list(session)
    mids = [line.partition(":")[2] for s in theirs for line in s if line.startswith("a=mid:")]
    out = [f"a=group:BUNDLE {' '.join(mids)}" if line.startswith("a=group:BUNDLE") else line for line in out]
    for mine, section in zip(ours, theirs, strict=True):
        if _rejected(section) and not mine[0].startswith("m=application"):
            out += [mine[0], "c=IN IP4 0.0.0.0", *transport, *(line for line in mine if line.startswith(KEPT)), "a=inactive"]
        else:
            out += section
    return "\r\n".join(out) + "\r\n"


def _sections(text: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("m="):
            found.append([])
        found[-1].append(line)
    return found


def _rejected(section: list[str]) -> bool:
    return section[0].split()[1] == "0"
