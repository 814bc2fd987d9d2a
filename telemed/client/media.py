"""The media side: one RTCPeerConnection at a time, built again when it is lost; tracks outlive it on both sides."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from telemed.client.answer import complete

log = logging.getLogger(__name__)

# aiortc asks for consent each 5 s, without nominating: after a change of address an ICE-lite relay would learn of it late or never.
CHECK_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 0.9
LOST_SECONDS: Final = 40.0  # less than what the relay keeps a silent peer for

Offer = Callable[[str, dict[str, dict[str, str]], dict[str, str | None]], Awaitable[str]]


class Received(MediaStreamTrack):
    """Someone's track as it arrives: `await recv()` gives decoded frames and waits through a lost connection. It ends with the track."""

    def __init__(self, kind: str, track_id: str) -> None:
        self.kind = kind
        super().__init__()
        self.track_id = track_id
        self._source: MediaStreamTrack | None = None
        self._changed = asyncio.Event()

    def switch(self, source: MediaStreamTrack | None) -> None:
        """What it comes from now."""
        self._source = source
        self._changed.set()

    async def recv(self) -> Any:
        """The next frame. Time stamps begin anew when the connection does. Raises MediaStreamError when the track has ended."""
        while self.readyState == "live":
            source = self._source
            self._changed.clear()
            if source is not None:
                try:
                    return await source.recv()
                except MediaStreamError:
                    if self._source is not source:
                        continue
            await self._changed.wait()
        raise MediaStreamError

    def stop(self) -> None:
        """Nothing more is received."""
        super().stop()
        self.switch(None)


class Lent(MediaStreamTrack):
    """A track for the time of one connection: RTCRtpSender stops what it sent when it ends, and the next one needs it again."""

    def __init__(self, source: MediaStreamTrack) -> None:
        self.kind = source.kind
        super().__init__()
        self._source = source

    async def recv(self) -> Any:
        """The next frame of the source."""
        return await self._source.recv()


@dataclass(eq=False)
class Sending:
    """A publication: the track, and what others are told of it."""

    track: MediaStreamTrack
    source: str
    name: str
    transceiver: RTCRtpTransceiver | None = None


@dataclass(eq=False)
class Receiving:
    """A subscription, or (track None) an m-line that is free for the next one."""

    kind: str
    track: Received | None
    whose: tuple[str, ...] = ()  # participant, kind, source, name
    transceiver: RTCRtpTransceiver | None = None


class Media:
    """`offer(sdp, publish, wanted)` brings an offer to the relay and returns the answer's text.

    `on_state` hears connecting, connected, interrupted, lost and closed.
    """

    def __init__(self, offer: Offer, on_state: Callable[[str], None], on_data: Callable[[str, str, bytes | str], None]) -> None:
        self._offer, self._on_state, self._on_data = offer, on_state, on_data
        self.ice_servers: list[dict[str, Any]] = []
        self.sending: list[Sending] = []
        self.receiving: list[Receiving] = []
        self.channels: dict[str, RTCDataChannel] = {}
        self._labels: list[str] = []
        self._pc: RTCPeerConnection | None = None
        self._lock = asyncio.Lock()
        self._checks: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """Of the connection: none, or as RTCPeerConnection.connectionState."""
        return str(self._pc.connectionState) if self._pc is not None else "none"

    @property
    def wanted(self) -> bool:
        """Whether there is anything to send or receive."""
        return bool(self.sending or self._labels or any(r.track is not None for r in self.receiving))

    async def change(self, begin: Callable[[], None] = lambda: None, anew: bool = False) -> None:
        """Apply a change of `sending` or `receiving` and offer it; `anew`: over a new connection."""
        async with self._lock:
            begin()
            if anew or self._pc is None or self._pc.connectionState in ("closed", "failed"):
                await self._drop()
                self._build()
            await self._negotiate()

    def withdraw(self, sending: Sending) -> None:
        """Its m-line says `inactive` from the next offer on."""
        if sending in self.sending:
            self.sending.remove(sending)
        if sending.transceiver is not None:
            sending.transceiver.direction = "inactive"

    async def settled(self) -> None:
        """Until no offer is on its way."""
        async with self._lock:
            pass

    async def close(self) -> None:
        """End everything."""
        async with self._lock:
            await self._drop()
        for receiving in self.receiving:
            if receiving.track is not None:
                receiving.track.stop()

    def channel(self, label: str) -> None:
        """A data channel, opened by the next offer."""
        if label not in self._labels:
            self._labels.append(label)
            if self._pc is not None:
                self._open(label)

    def mid(self, track_id: str) -> str | None:
        """The m-line that a subscription is on."""
        found = next((r for r in self.receiving if r.track is not None and r.track.track_id == track_id), None)
        return found.transceiver.mid if found is not None and found.transceiver is not None else None

    async def stats(self) -> dict[str, Any]:
        """As RTCPeerConnection.getStats; empty without a connection."""
        return dict(await self._pc.getStats()) if self._pc is not None else {}

    def _build(self) -> None:
        servers = [RTCIceServer(urls=s["urls"], username=s.get("username"), credential=s.get("credential")) for s in self.ice_servers]
        # An empty list, since None would ask Google's STUN server.
        pc = self._pc = RTCPeerConnection(RTCConfiguration(iceServers=servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.receiving = [r for r in self.receiving if r.track is not None]
        self.channels.clear()
        for sending in self.sending:
            sending.transceiver = None
        for receiving in self.receiving:
            receiving.transceiver = None
        for label in self._labels:
            self._open(label)

        @pc.on("connectionstatechange")
        def changed() -> None:
            if pc is self._pc:
                state = pc.connectionState
                log.debug("media %s", state)
                self._on_state({"failed": "lost", "new": "connecting"}.get(state, state))

        @pc.on("datachannel")
        def opened(channel: RTCDataChannel) -> None:
            channel.on("message", lambda message: self._on_data(channel.label, channel.protocol, message))

    def _open(self, label: str) -> None:
        assert self._pc is not None
        channel = self._pc.createDataChannel(label)
        channel.on("message", lambda message: self._on_data(label, channel.protocol, message))
        self.channels[label] = channel

    async def _negotiate(self) -> None:
        pc = self._pc
        assert pc is not None
        for sending in self.sending:
            if sending.transceiver is None:
                sending.transceiver = pc.addTransceiver(Lent(sending.track), direction="sendonly")
        for receiving in self.receiving:
            if receiving.transceiver is None:
                receiving.transceiver = pc.addTransceiver(receiving.kind, direction="recvonly")
        if not pc.getTransceivers() and not self.channels:
            return
        await pc.setLocalDescription(await pc.createOffer())
        publish = {s.transceiver.mid or "": {"source": s.source, "name": s.name} for s in self.sending if s.transceiver is not None}
        wanted = {r.transceiver.mid or "": r.track.track_id if r.track else None for r in self.receiving if r.transceiver is not None}
        answer = await self._offer(pc.localDescription.sdp, publish, wanted)
        await pc.setRemoteDescription(RTCSessionDescription(complete(answer, pc.localDescription.sdp), "answer"))
        for receiving in self.receiving:
            if receiving.track is not None and receiving.transceiver is not None:
                receiving.track.switch(receiving.transceiver.receiver.track)
        if self._checks is None:
            self._checks = asyncio.create_task(self._check(pc))

    async def _check(self, pc: RTCPeerConnection) -> None:
        """Consent (RFC 7675) of our own: each second, nominating, so that the relay follows an address that changed."""
        failed = 0.0
        while pc.connectionState != "closed":
            await asyncio.sleep(CHECK_SECONDS)
            users = [t.sender for t in pc.getTransceivers()] + ([pc.sctp] if pc.sctp is not None else [])
            for transport in {user.transport.transport for user in users}:
                connection = transport._connection
                for pair in list(connection._nominated.values()):
                    task, connection._query_consent_task = connection._query_consent_task, None
                    if task is not None:
                        task.cancel()
                    request = connection.build_request(pair, nominate=True)
                    key = (connection.remote_password or "").encode()
                    try:
                        ask = pair.protocol.request(request, pair.remote_addr, integrity_key=key, retransmissions=0)
                        await asyncio.wait_for(ask, ANSWER_SECONDS)
                    except Exception as e:  # aioice has an error of its own for each way to get no answer
                        log.debug("no consent: %r", e)
                        failed += CHECK_SECONDS + ANSWER_SECONDS
                        if failed > 2 * CHECK_SECONDS:
                            self._on_state("interrupted")
                    else:
                        if failed > 2 * CHECK_SECONDS:
                            self._on_state("connected")
                        failed = 0.0
            if failed > LOST_SECONDS:
                self._on_state("lost")
                return

    async def _drop(self) -> None:
        if self._checks is not None:
            self._checks.cancel()
            self._checks = None
        pc, self._pc = self._pc, None
        if pc is not None:
            await pc.close()
