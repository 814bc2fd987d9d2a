"""WHIP and WHEP for raw peers: an offer as text, the answer read, DELETE at the end."""

import re
from collections.abc import Sequence
from urllib.parse import urljoin

import httpx

from bench.relay import packets
from bench.relay.sources import Source
from bench.relay.transport import Remote, Transport

URIS = {
    packets.MID_ID: "urn:ietf:params:rtp-hdrext:sdes:mid",
    packets.TRANSPORT_ID: "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    packets.LEVEL_ID: "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    packets.RID_ID: "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    packets.RID_ID + 1: "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
}


class Refused(Exception):
    """The endpoint answered something else than 201."""


def offer(transport: Transport, sources: Sequence[Source], nack_audio: bool = True) -> str:
    """Of a publisher with its sources, of a watcher with none."""
    direction = "sendonly" if sources else "recvonly"
    lines = [
        "v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1", "a=msid-semantic: WMS *",
    ]  # fmt: skip
    for mid, kind in (("0", "audio"), ("1", "video")):
        mine = [s for s in sources if (s.video is not None) == (kind == "video")]
        rids = [s.video.rid for s in mine if s.video is not None and s.video.rid]
        numbers = f"{packets.AUDIO}" if kind == "audio" else f"{packets.VIDEO} {packets.RTX}"
        host, port = transport.address
        lines += [
            f"m={kind} 9 UDP/TLS/RTP/SAVPF {numbers}", "c=IN IP4 0.0.0.0", f"a=mid:{mid}", f"a={direction}", "a=rtcp-mux", "a=rtcp-rsize",
            f"a=ice-ufrag:{transport.ufrag}", f"a=ice-pwd:{transport.password}", f"a=fingerprint:{transport.certificate.fingerprint}",
            "a=setup:actpass", f"a=candidate:1 1 udp 2130706431 {host} {port} typ host", "a=end-of-candidates",
        ]  # fmt: skip
        wanted = [packets.MID_ID, packets.TRANSPORT_ID] + ([packets.LEVEL_ID] if kind == "audio" else [])
        wanted += [packets.RID_ID, packets.RID_ID + 1] if rids else []
        lines += [f"a=extmap:{number} {URIS[number]}" for number in wanted]
        if kind == "audio":
            lines += [f"a=rtpmap:{packets.AUDIO} opus/48000/2", f"a=fmtp:{packets.AUDIO} minptime=10;useinbandfec=1"]
            lines += [f"a=rtcp-fb:{packets.AUDIO} transport-cc"] + ([f"a=rtcp-fb:{packets.AUDIO} nack"] if nack_audio else [])
        else:
            lines += [f"a=rtpmap:{packets.VIDEO} VP8/90000", f"a=rtpmap:{packets.RTX} rtx/90000"]
            lines += [f"a=fmtp:{packets.RTX} apt={packets.VIDEO}"]
            feedback = ("nack", "nack pli", "ccm fir", "goog-remb", "transport-cc")
            lines += [f"a=rtcp-fb:{packets.VIDEO} {f}" for f in feedback]
        if rids:
            lines += [f"a=rid:{rid} send" for rid in rids] + ["a=simulcast:send " + ";".join(rids)]
        elif mine:
            lines.append(f"a=msid:bench {kind}")
            if kind == "video":
                lines.append(f"a=ssrc-group:FID {mine[0].ssrc} {mine[0].rtx_ssrc}")
            lines += [f"a=ssrc:{s} cname:bench" for s in ([mine[0].ssrc, mine[0].rtx_ssrc] if kind == "video" else [mine[0].ssrc])]
    return "\r\n".join(lines) + "\r\n"


def read(answer: str) -> Remote:
    """Where and who the relay is. Raises Refused."""

    def find(pattern: str) -> re.Match[str]:
        found = re.search(pattern, answer, re.MULTILINE)
        if found is None:
            raise Refused(f"the answer has no {pattern}: {answer[:300]}")
        return found

    address = find(r"^a=candidate:\S+ 1 [uU][dD][pP] \d+ (\S+) (\d+) typ host")
    fingerprint = find(r"^a=fingerprint:(\S+) (\S+?)\r?$")
    return Remote(
        find(r"^a=ice-ufrag:(\S+)")[1], find(r"^a=ice-pwd:(\S+)")[1], (fingerprint[1], fingerprint[2]), (address[1], int(address[2])),
        "a=setup:active" in answer,
    )


class Session:
    """One POST; `end` DELETEs it."""

    def __init__(self, http: httpx.AsyncClient, url: str, token: str = "") -> None:
        self.http, self.url = http, url
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.resource = ""

    async def begin(self, transport: Transport, text: str) -> None:
        """Offer and wait until media may flow. Raises Refused, httpx.HTTPError, TimeoutError."""
        answer = await self.http.post(self.url, content=text, headers={**self.headers, "Content-Type": "application/sdp"})
        if answer.status_code != 201:
            raise Refused(f"{self.url}: {answer.status_code} {answer.text[:200]}")
        self.resource = urljoin(self.url, answer.headers.get("Location", ""))
        transport.start(read(answer.text))
        await transport.connected

    async def end(self) -> None:
        if self.resource:
            try:
                await self.http.delete(self.resource, headers=self.headers)
            except httpx.HTTPError:
                pass


def pair(a: Transport, b: Transport) -> None:
    """Two raw peers joined without a relay."""
    name, value = b.certificate.fingerprint.split()
    a.start(Remote(b.ufrag, b.password, (name, value), b.address))
    b.start(Remote(a.ufrag, a.password, (name, value), a.address, active=True))
