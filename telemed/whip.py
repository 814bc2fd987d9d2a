"""WHIP to publish (RFC 9725) and WHEP to watch (draft-ietf-wish-whep): a participant whose session is one HTTP resource."""

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from telemed import sdpfrag
from telemed.ice_servers import ice_servers, link_headers
from telemed.metrics import Metrics
from telemed.rooms.mlines import mlines
from telemed.rooms.participant import Participant
from telemed.rooms.refused import Refused
from telemed.rooms.registry import Rooms
from telemed.rooms.roles import DEFAULTS, PUBLISH, Role
from telemed.rooms.room import Room
from telemed.settings import Settings
from telemed.signal.texts import text
from telemed.tokens import NAME_CHARS, Identity, TokenError, Tokens, bearer_of, valid_id

log = logging.getLogger(__name__)
Way = Literal["whip", "whep"]
SDP, SDPFRAG = "application/sdp", "application/trickle-ice-sdpfrag"
MAX_BODY = 65_536
BODY_SECONDS = 10.0
STATUS = {
    "bad-message": 400, "sdp": 400, "token": 401, "token-ended": 401, "removed": 403, "not-allowed": 403, "not-admitted": 403,
    "conflict": 409, "closed": 409, "ended": 410, "too-long": 413, "codec": 422, "too-many-tracks": 422, "unknown-track": 422,
    "room-full": 503, "full": 503,
}  # fmt: skip


class Problem(Exception):
    """An answer of RFC 9457. `code` as in the protocol's table, `headers` beside."""

    def __init__(self, status: int, code: str, detail: str = "", **headers: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(slots=True, eq=False)
class HttpSession:
    """One publisher or watcher over HTTP; the ear of its participant, which hears nothing but the end."""

    id: str
    way: Way
    room: Room
    who: Participant
    token: bytes  # digest of the bearer token that opened it
    offer: str
    etag: str
    sessions: "dict[str, HttpSession]"

    def tell(self, text: str, kept: bool) -> None:
        """There is no way to tell."""

    def admitted(self, by: str) -> None:
        """Never waits."""

    def finish(self, code: int) -> None:
        self.sessions.pop(self.id, None)


class Http:
    """Both endpoints. `now`: seconds since 1970."""

    def __init__(self, rooms: Rooms, tokens: Tokens, settings: Settings, metrics: Metrics, now: Callable[[], float] = time.time) -> None:
        self._rooms, self._tokens, self._settings, self._metrics, self._now = rooms, tokens, settings, metrics, now
        self.sessions: dict[str, HttpSession] = {}

    async def endpoint(self, request: Request) -> Response:
        """`/telemed/whip/{room}` and `/telemed/whep/{room}`."""
        return await self._answer(request, self._endpoint)

    async def resource(self, request: Request) -> Response:
        """`.../{room}/{session}`."""
        return await self._answer(request, self._resource)

    async def _answer(self, request: Request, handler: Callable[[Request, Way], Awaitable[Response]]) -> Response:
        way: Way = "whip" if "/telemed/whip/" in request.url.path else "whep"
        try:
            if not self._settings.admits(request.headers.get("origin")):
                raise Problem(403, "not-allowed", "this origin may not")
            response = await handler(request, way)
        except Problem as problem:
            response = _problem(problem)
        except Refused as refused:
            status = STATUS.get(refused.code, 400)
            retry = {"Retry_After": "10"} if status == 503 else {}
            response = _problem(Problem(status, refused.code, refused.detail, **retry))
        except ClientDisconnect:
            response = Response(status_code=400)
        self._metrics.count("telemed_http_total", way=way, method=request.method, status=str(response.status_code))
        response.headers.update(self._cors(request))
        return response

    # ---- endpoint ----

    async def _endpoint(self, request: Request, way: Way) -> Response:
        room = request.path_params["room"]
        if not valid_id(room):
            raise Problem(404, "bad-message", "not the name of a room")
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Accept-Post": SDP, "Allow": "POST, OPTIONS"})
        if request.method != "POST":
            raise Problem(405, "bad-message", "an offer is POSTed here", Allow="POST, OPTIONS", Accept_Post=SDP)
        _content_type(request, SDP, "Accept_Post")
        offer = await _body(request)
        identity, bearer = self._identity(request, room, way)
        lines = mlines(offer)  # before anybody is told that someone came
        if way == "whip" and not any(line.sends for line in lines):
            raise Problem(422, "sdp", "the offer sends nothing")
        if way == "whep" and not any(line.receives for line in lines):
            raise Problem(422, "sdp", "the offer receives nothing")
        if way == "whip" and not identity.rights & PUBLISH:
            raise Refused("not-allowed", "the token has no right to publish")
        opened = self._rooms.open(identity)
        if identity.participant not in opened.participants and self._rooms.sessions() >= self._settings.sessions:
            raise Refused("full", "sessions")
        who = opened.enter(identity, way)
        session = HttpSession(secrets.token_urlsafe(24), way, opened, who, _digest(bearer), offer, "", self.sessions)
        who.ear = self.sessions[session.id] = session
        if way == "whep":
            who.follows = request.query_params.get("participant") or None
            who.watch = {line.mid: line.kind for line in lines if line.receives}
        try:
            answer = self._negotiate(session)
        except BaseException:
            opened.leave(who, "left")
            raise
        headers = {"Location": f"{request.url.path}/{session.id}", "ETag": session.etag, "Accept-Patch": SDPFRAG}
        response = Response(answer, 201, headers, SDP)
        for link in link_headers(ice_servers(self._settings, who.id, self._now())):
            response.headers.append("Link", link)
        return response

    def _negotiate(self, session: HttpSession) -> str:
        who = session.who
        who.bound = session.room.media.choice(who.follows, who.watch)
        answer, _ = session.room.media.negotiate(who, session.offer, {}, who.bound)
        session.etag = f'"{secrets.token_hex(6)}"'
        return answer

    def _identity(self, request: Request, room: str, way: Way) -> tuple[Identity, str]:
        bearer = bearer_of(request.headers.get("authorization", ""))
        if bearer:
            try:
                return self._tokens.verify(bearer, room), bearer
            except TokenError as error:
                raise Problem(401, error.code, str(error), WWW_Authenticate='Bearer error="invalid_token"') from None
        if not self._settings.open:
            raise Problem(401, "token", "a join token is needed as bearer", WWW_Authenticate="Bearer")
        role = Role.DEVICE if way == "whip" else Role.WATCHER
        asked = request.query_params.get("participant") if way == "whip" else None
        participant = asked or f"{way}-{secrets.token_hex(6)}"
        name = request.query_params.get("name") or participant
        if not valid_id(participant) or len(name) > NAME_CHARS:
            raise Refused("bad-message", "participant must be an id, name short")
        now = int(self._now())
        return Identity(room, participant, name, role, DEFAULTS[role], True, False, now, now, secrets.token_hex(8)), ""

    # ---- resource ----

    async def _resource(self, request: Request, way: Way) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Accept-Patch": SDPFRAG, "Allow": "PATCH, DELETE, OPTIONS"})
        if request.method not in ("PATCH", "DELETE"):
            raise Problem(405, "bad-message", "PATCH, DELETE or OPTIONS", Allow="PATCH, DELETE, OPTIONS")
        session = self.sessions.get(request.path_params["session"])
        if session is None or session.way != way or session.room.id != request.path_params["room"]:
            raise Problem(404, "closed", "no such session, or it has ended")
        if not hmac.compare_digest(session.token, _digest(bearer_of(request.headers.get("authorization", "")))):
            raise Problem(401, "token", "the bearer token that opened the session is needed", WWW_Authenticate="Bearer")
        if request.method == "DELETE":
            session.room.leave(session.who, "left")
            return Response(status_code=200)
        _content_type(request, SDPFRAG, "Accept_Patch")
        match = request.headers.get("if-match")
        if match is None:
            raise Problem(428, "bad-message", "If-Match is needed")
        fragment = sdpfrag.parse(await _body(request))
        if self.sessions.get(session.id) is not session:
            raise Problem(404, "closed", "it ended meanwhile")
        current = sdpfrag.parse(session.offer) if fragment.ufrag else fragment
        restart = (fragment.ufrag, fragment.pwd) != (current.ufrag, current.pwd)
        if match.strip() != "*" and session.etag not in (part.strip() for part in match.split(",")):
            raise Problem(412, "closed", "If-Match is not the session's ETag: ICE was restarted meanwhile")
        if not restart:
            self._candidates(session, fragment)
            return Response(status_code=204)
        before = session.offer
        session.offer = sdpfrag.restarted(before, fragment)
        try:
            answer = self._negotiate(session)
        except Refused:
            session.offer = before
            raise
        self._candidates(session, fragment)
        return Response(sdpfrag.fragment_of(answer), 200, {"ETag": session.etag}, SDPFRAG)

    @staticmethod
    def _candidates(session: HttpSession, fragment: sdpfrag.Fragment) -> None:
        for mid, candidate in fragment.candidates:
            session.room.media.candidate(session.who, candidate, mid)

    # ---- CORS ----

    def _cors(self, request: Request) -> dict[str, str]:
        origin = request.headers.get("origin")
        if origin is None or not self._settings.admits(origin):
            return {"Vary": "Origin"}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": "POST, PATCH, DELETE, OPTIONS",
            "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
            "Access-Control-Expose-Headers": "Location, ETag, Link, Accept-Post, Accept-Patch, Retry-After",
            "Access-Control-Max-Age": "600",
            "Vary": "Origin",
        }


def _problem(problem: Problem) -> Response:
    words = text(problem.code)
    body = {
        "type": "about:blank", "status": problem.status, "code": problem.code, "title": words["en"], "title_vi": words["vi"],
        "detail": problem.detail,
    }  # fmt: skip
    return Response(msgspec.json.encode(body), problem.status, problem.headers, "application/problem+json")


def _digest(bearer: str) -> bytes:
    return hashlib.sha256(bearer.encode("utf-8", "surrogateescape")).digest()


def _content_type(request: Request, wanted: str, accept: str) -> None:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
        raise Problem(415, "bad-message", f"Content-Type must be {wanted}", **{accept: wanted})


async def _body(request: Request) -> str:
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BODY:
                    raise Problem(413, "too-long", f"more than {MAX_BODY} bytes")
                parts.append(part)
    except TimeoutError:
        raise Problem(408, "silence", f"no whole body within {BODY_SECONDS:g} s", Connection="close") from None
    try:
        return b"".join(parts).decode()
    except UnicodeDecodeError:
        raise Problem(400, "bad-message", "not UTF-8") from None
