"""A stand-in for the relay that says what a test tells it to, with the page beside it and aiortc at the other end of the media."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bench.processes import free_port
from telemed.page import room, routes

Message = dict[str, Any]
RIGHTS = {
    "doctor": ["audio", "video", "screen", "chat", "admit", "mute", "remove", "record", "end"],
    "nurse": ["audio", "video", "screen", "chat"],
    "patient": ["audio", "video", "chat"],
}
OFF = {"state": "off", "by": None, "asked": [], "consented": [], "refused": []}


def person(id: str, name: str, role: str = "patient", **more: Any) -> Message:
    return {"id": id, "name": name, "role": role, "rights": RIGHTS[role], "state": "admitted", "via": "ws",
            "since": "2026-11-26T08:15:00.000Z", "hand": False, "link": "up", **more}  # fmt: skip


def track(id: str, participant: str, kind: str, source: str, **more: Any) -> Message:
    codec, layers = ("opus", []) if kind == "audio" else ("VP8", ["q", "h", "f"])
    return {"id": id, "participant": participant, "kind": kind, "source": source, "name": "", "codec": codec, "layers": layers,
            "muted": False, **more}  # fmt: skip


class Relay:
    """One room. `me`: who comes in; `answers`: whether offers are answered by aiortc; what came is in `got`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.loop: asyncio.AbstractEventLoop | None = None
        self.fresh()
        page_routes = routes()
        page_routes.append(Route("/consult", self._consult))
        page_routes.append(Route("/join", self._join, methods=["POST"]))
        page_routes.append(Route("/telemed/messages", self._create, methods=["POST"]))
        page_routes.append(Route("/telemed/messages/1", self._message, methods=["HEAD", "PATCH"]))
        app = Starlette(routes=[*page_routes, WebSocketRoute("/telemed/ws", self._ws)])
        self._server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", self.port, log_level="warning", ws="websockets-sansio"))

    def fresh(self) -> None:
        """As at the start of a test."""
        self.me = person("me", "BS. Trần Thị Bình", "doctor")
        self.participants: list[Message] = []
        self.waiting: list[Message] = []
        self.tracks: list[Message] = []
        self.chat: list[Message] = []
        self.answers = self.media = False
        self.broken = 0  # pieces of a message whose answer is lost
        self.refuse_ws: int | None = None  # close code for everyone who comes
        self.got: list[Message] = []
        self.seq = 0
        self.kept: list[Message] = []
        self.pieces = bytearray()
        self.created: Message = {}
        self.hellos = 0
        self.pc: RTCPeerConnection | None = None
        self._socket: WebSocket | None = None

    # ---- for tests, from their own thread ----

    def run(self, coroutine: Any) -> Any:
        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def say(self, type: str, **fields: Any) -> None:
        self.run(self._say({"type": type, **fields}))

    def drop(self, code: int = 1012) -> None:
        """The connection is lost; the session is kept."""
        assert self._socket is not None
        self.run(self._socket.close(code))

    def wait(self, type: str, after: int = 0, seconds: float = 10) -> Message:
        """The first message of this type after so many others of it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = [m for m in self.got if m["type"] == type]
            if len(found) > after:
                return found[after]
            time.sleep(0.02)
        raise AssertionError(f"no {type} came: {[m['type'] for m in self.got]}")

    # ---- the page of the hub ----

    async def _consult(self, request: Request) -> Response:
        return room(request, join="/join", back="/home")

    async def _join(self, request: Request) -> Response:
        return JSONResponse({"token": "from-the-hub"})

    # ---- signalling ----

    async def _say(self, message: Message, numbered: bool = True) -> None:
        if numbered:
            self.seq += 1
            message = {**message, "seq": self.seq}
            self.kept.append(message)
        if self._socket is not None:
            await self._socket.send_text(json.dumps(message))

    def view(self) -> Message:
        """What `welcome` and `admitted` have in common."""
        inside = self.me["state"] == "admitted"
        return {
            "you": self.me,
            "room": {"id": "c-1", "state": "live" if self.participants else "admitted", "since": "2026-11-26T08:16:10.000Z", "watchers": 0,
                     "recording": OFF},
            "participants": self.participants if inside else [], "waiting": self.waiting if inside else [],
            "tracks": self.tracks if inside else [], "chat": self.chat if inside else [], "ice_servers": [], "ice_seconds": 3600,
            "resume": f"resume-{self.seq}",
        }  # fmt: skip

    async def _ws(self, socket: WebSocket) -> None:
        await socket.accept()
        if self.refuse_ws is not None:
            await socket.close(self.refuse_ws)
            return
        hello = json.loads(await socket.receive_text())
        self.hellos += 1
        self.got.append(hello)
        self._socket = socket
        resume = hello.get("resume")
        if resume and resume["seq"]:
            missed = [m for m in self.kept if m["seq"] > resume["seq"]]
            await self._say({"type": "resumed", "re": hello["id"], "seq": self.seq, "missed": len(missed), "media": "kept",
                             "resume": "resume-again", "ice_servers": [], "ice_seconds": 3600}, False)  # fmt: skip
            for message in missed:
                await socket.send_text(json.dumps(message))
        else:
            await self._say({"type": "welcome", "re": hello["id"], "version": 1, "media": "new", "restored": bool(resume),
                             "ping_seconds": 15, "grace_seconds": 60, "limits": {}, **self.view()})  # fmt: skip
        try:
            while True:
                await self._take(json.loads(await socket.receive_text()))
        except (WebSocketDisconnect, RuntimeError):  # gone, or closed by a test
            if self._socket is socket:
                self._socket = None

    async def _take(self, message: Message) -> None:
        self.got.append(message)
        type, id = message["type"], message.get("id")
        if type == "ping":
            await self._say({"type": "pong", "re": id}, False)
        elif type == "offer":
            if self.answers:
                await self._say({"type": "answer", "re": id, "sdp": await self._answer(message), "missing": []})
        elif type == "chat":
            await self._say({"type": "ok", "re": id})
            await self._say({"type": "chat", "message": {"id": self.seq, "from": self.me["id"], "name": self.me["name"], "role": "doctor",
                             "text": message["text"], "time": "2026-11-26T08:20:00.000Z"}})  # fmt: skip
        elif type not in ("candidate", "report", "leave"):
            await self._say({"type": "ok", "re": id})

    # ---- media ----

    async def _answer(self, message: Message) -> str:
        if self.pc is None:
            self.pc = RTCPeerConnection(RTCConfiguration(bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
            self.pc.on("datachannel", lambda channel: channel.on("message", lambda m: self._echo(channel.label, m)))
        pc = self.pc
        await pc.setRemoteDescription(RTCSessionDescription(message["sdp"], "offer"))
        for transceiver in pc.getTransceivers():
            if self.media and transceiver.mid in message["wanted"] and transceiver.sender.track is None:
                pc_track = AudioStreamTrack() if transceiver.kind == "audio" else VideoStreamTrack()
                transceiver.sender.replaceTrack(pc_track)
                transceiver.direction = "sendonly"
        await pc.setLocalDescription(await pc.createAnswer())
        return _with_rid(message["sdp"], str(pc.localDescription.sdp))

    def _echo(self, label: str, message: str | bytes) -> None:
        """Back on a channel as if another had sent it."""
        assert self.pc is not None
        self.got.append({"type": f"channel-{label}", "message": message})
        back = getattr(self, f"_back_{label}", None)
        if back is None or back[0] is not self.pc:
            channel = self.pc.createDataChannel(label, protocol="p-nurse")
            waiting: list[str | bytes] = []
            channel.on("open", lambda: [channel.send(m) for m in waiting])
            back = (self.pc, channel, waiting)
            setattr(self, f"_back_{label}", back)
        if back[1].readyState == "open":
            back[1].send(message)
        else:
            back[2].append(message)

    # ---- messages for later ----

    async def _create(self, request: Request) -> Response:
        names = ("authorization", "tus-resumable", "upload-length", "upload-metadata", "telemed-client")
        self.created = {k: request.headers[k] for k in names}
        return Response(status_code=201, headers={"Location": "/telemed/messages/1", "Tus-Resumable": "1.0.0"})

    async def _message(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(headers={"Upload-Offset": str(len(self.pieces))})
        if int(request.headers["upload-offset"]) != len(self.pieces):
            return Response(status_code=409)
        self.pieces += await request.body()
        if self.broken:
            self.broken -= 1
            return Response(status_code=503)
        return Response(status_code=204, headers={"Upload-Offset": str(len(self.pieces))})

    # ---- its thread ----

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        await self._server.serve()

    def start(self) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        end = time.monotonic() + 10
        while not self._server.started and time.monotonic() < end:
            time.sleep(0.02)

    def hang_up(self) -> None:
        """Ends the media of a test."""
        if self.pc is not None:
            pc, self.pc = self.pc, None
            self.run(pc.close())

    def stop(self) -> None:
        self.hang_up()
        self._server.should_exit = True
        self._thread.join(10)


def _with_rid(offer: str, answer: str) -> str:
    """With the header extension that simulcast needs, which aiortc leaves out."""
    found = next((line for line in offer.split("\r\n") if line.endswith("sdes:rtp-stream-id")), None)
    if found is None:
        return answer
    return "".join(
        part.replace("a=mid:", f"{found}\r\na=mid:", 1) if part.startswith("m=video") else part for part in re.split("(?m)^(?=m=)", answer)
    )


@contextmanager
def relay() -> Iterator[Relay]:
    found = Relay()
    found.start()
    try:
        yield found
    finally:
        found.stop()
