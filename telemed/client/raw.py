"""A track of frames that are encoded already, such as a device gives them: nothing is encoded or decoded on the way."""

import asyncio
import fractions
from typing import Any, Final

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

CLOCKS: Final = {"audio": 48000, "video": 90000}
WAITING: Final = 100  # frames that wait to be sent; the oldest is dropped beyond


class RawTrack(MediaStreamTrack):
    """`send` takes one Opus packet (kind "audio") or one VP8 or H.264 frame (kind "video"), of the codec that is negotiated."""

    def __init__(self, kind: str) -> None:
        if kind not in CLOCKS:
            raise ValueError("kind is audio or video")
        self.kind = kind
        super().__init__()
        self._frames: asyncio.Queue[Any] = asyncio.Queue(WAITING)

    def send(self, frame: bytes, timestamp: int) -> None:
        """`timestamp` counts from anywhere, 48,000 a second for sound, 90,000 for pictures."""
        if self._frames.full():
            self._frames.get_nowait()
        packet = av.Packet(frame)
        packet.pts = packet.dts = timestamp
        packet.time_base = fractions.Fraction(1, CLOCKS[self.kind])
        self._frames.put_nowait(packet)

    async def recv(self) -> Any:
        """The next frame, for the sender."""
        if self.readyState != "live":
            raise MediaStreamError
        packet = await self._frames.get()
        if packet is None:
            raise MediaStreamError
        return packet

    def stop(self) -> None:
        """Ends the track; who waits for a frame is told."""
        super().stop()
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(None)
