"""What WHIP and WHEP have in common: one offer by POST, one session to DELETE."""

import asyncio
from collections.abc import Sequence
from typing import Final, Self
from urllib.parse import urljoin

import httpx
from aiortc import MediaStreamTrack, RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

CONNECT_SECONDS: Final = 20.0


class HttpRefused(Exception):
    """The endpoint's answer was no 201: `status`, and `code` of its problem document when there is one."""

    def __init__(self, answer: httpx.Response) -> None:
        try:
            problem = answer.json()
        except ValueError:
            problem = {}
        super().__init__(f"{answer.status_code} {problem.get('title', '')} {problem.get('detail', '')}".strip())
        self.status, self.code = answer.status_code, str(problem.get("code", ""))


class HttpSession:
    """`async with await publish(...) as session`; ends with `close`."""

    def __init__(self, pc: RTCPeerConnection, resource: str, headers: dict[str, str]) -> None:
        self.pc, self.resource, self._headers = pc, resource, headers

    @property
    def tracks(self) -> list[MediaStreamTrack]:
        """What is received, in the order of the kinds asked for."""
        return [t.receiver.track for t in self.pc.getTransceivers() if t.receiver.track is not None]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """DELETE the session and close the connection."""
        try:
            async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
                await http.delete(self.resource, headers=self._headers)
        except httpx.HTTPError:
            pass  # the relay finds out by itself
        finally:
            await self.pc.close()


async def connect(url: str, token: str | None, lines: Sequence[tuple[MediaStreamTrack | str, str]]) -> HttpSession:
    """Offer `lines` (track or kind, direction), wait until media may flow. Raises HttpRefused, OSError, TimeoutError."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    try:
        for what, direction in lines:
            pc.addTransceiver(what, direction=direction)
        connected = asyncio.Event()
        pc.on("connectionstatechange", lambda: connected.set() if pc.connectionState != "connecting" else None)
        await pc.setLocalDescription(await pc.createOffer())
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with httpx.AsyncClient(timeout=CONNECT_SECONDS, trust_env=False) as http:
                answer = await http.post(url, content=pc.localDescription.sdp, headers={**headers, "Content-Type": "application/sdp"})
        except httpx.TimeoutException as e:
            raise TimeoutError(f"no answer from {url}") from e
        except httpx.HTTPError as e:
            raise OSError(f"{url}: {e}") from e
        if answer.status_code != 201:
            raise HttpRefused(answer)
        session = HttpSession(pc, urljoin(url, answer.headers.get("Location", "")), headers)
        await pc.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        async with asyncio.timeout(CONNECT_SECONDS):
            while pc.connectionState != "connected":
                if pc.connectionState in ("failed", "closed"):
                    raise OSError(f"no media connection with {url}")
                connected.clear()
                await connected.wait()
        return session
    except BaseException:
        await pc.close()
        raise
