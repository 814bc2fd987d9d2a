"""Pages of what is kept of a consultation: recordings and messages for later, listed and played, and each play in the audit trail.

Media come from the relay that has them, decrypted on their way (telemed/kept.py). A player asks with the session's cookie: whether the
person may see it is decided anew for each request.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from health_hub.access.gate import Access, Gate
from health_hub.consult import record, relays
from health_hub.consult.listed import past
from health_hub.consult.who import HOSTS, NotHere, Seat, seat
from health_hub.web.site import PageError, Site, Visit
from telemed.kept import Content, Kept, NoAnswer
from telemed.rooms.roles import Role
from telemed.signal.bucket import Bucket

# Whose record it is, who care for them, and who treat them; interpreters and guests were there for the talk alone.
WATCH = HOSTS | {Role.NURSE, Role.PATIENT, Role.CARER}
PLAY_SECONDS = 300.0  # requests of one person for one recording that are less apart are one play
RATE, BURST = 20.0, 300  # requests for media of one person a second, and at once: a player asks for each track, and at each seek
REMEMBERED = 10_000
TOKEN_SECONDS = 60
_GUARDS = (
    (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"), (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"), (b"content-disposition", b"inline"),
    (b"referrer-policy", b"same-origin"),
)  # fmt: skip
_PASSED = frozenset((b"content-type", b"content-length", b"content-range", b"accept-ranges", b"etag", b"retry-after"))


class Refused(Exception):
    """A request for media that is not answered with any."""

    def __init__(self, status: int, code: str, vi: str, en: str) -> None:
        super().__init__(code)
        self.status, self.body = status, {"code": code, "vi": vi, "en": en}


def router(site: Site, gate: Gate, kept: Callable[[], Awaitable[Kept]]) -> APIRouter:
    """For health_hub.web.pages. kept: made when it is first asked for."""
    routes = APIRouter()
    store = gate.store
    tokens = relays.tokens(gate.authority.settings, store.secret)
    plays, rates = _Recent(), _Recent()

    async def of_page(visit: Visit) -> Access:
        signed = await site.person(visit)
        return await gate.person(signed.account, signed.session.organization, site.caller(visit).address)

    async def noted(access: Access, what: str, target: str, status: int) -> None:
        if status >= 400:
            access.shown.clear()  # it was looked at, and not shown
        await store.commit([], trail=[access.entry(what, "R", status, target)])

    async def seat_of(access: Access, kind: str, id: str, what: str, target: str) -> Seat:
        """Raises NotHere, PermissionError; either is in the trail."""
        try:
            sits = await seat(gate, access, kind, id, closed=True)
        except NotHere:
            await noted(access, what, target, 404)
            raise
        if sits.role not in WATCH:
            await noted(access, what, target, 403)
            raise PermissionError
        return sits

    async def page_seat(access: Access, kind: str, id: str, target: str) -> Seat:
        try:
            return await seat_of(access, kind, id, "consult-kept", target)
        except NotHere:
            raise PageError(404, "kept") from None
        except PermissionError:
            raise PageError(403, "kept.role") from None

    def token(sits: Seat) -> str:
        room = sits.consultation.room
        return tokens.issue(room=room, participant=sits.participant, name=sits.name, role=sits.role, seconds=TOKEN_SECONDS)

    async def names(sits: Seat) -> dict[str, str]:
        """By participant: as they were called in the room, else as the Appointment or Encounter has them."""
        found = await store.records.get(record.KIND, sits.consultation.room)
        people = {who: str(said["name"]) for who, said in (found.data["participants"] if found is not None else {}).items()}
        return dict(sits.consultation.displays()) | people

    # --- pages

    @routes.get("/consult/kept")
    async def before(request: Request) -> Response:
        """Consultations of which something was kept, those that are over too."""
        visit = await site.visit(request)
        access = await of_page(visit)
        found = await past(gate, access, WATCH)
        await store.commit([], trail=[access.entry("search-type", "E", 200, "consultations with recordings or messages")])
        return site.page(visit, "consults_kept.html", consults=found)

    @routes.get("/consult/{kind}/{id}/kept")
    async def listing(request: Request, kind: str, id: str) -> Response:
        visit = await site.visit(request)
        access = await of_page(visit)
        sits = await page_seat(access, kind, id, f"{kind[:64]}/{id[:64]}/kept")
        room = sits.consultation.room
        relay = await kept()
        recordings, one = await relay.recordings(room)
        messages, two = await relay.messages(token(sits))
        known = await names(sits)
        await noted(access, "consult-kept", f"{kind}/{id}/kept", 200)
        answer = site.page(
            visit, "consult_kept.html", place=sits.consultation.path, host=sits.role in HOSTS, whole=one and two,
            recordings=[_recording(r, known) for r in recordings if _theirs(access, sits, r)],
            messages=[_message(m, sits) for m in messages],
        )  # fmt: skip
        return _playing(answer)

    @routes.get("/consult/{kind}/{id}/kept/recordings/{name}")
    async def player(request: Request, kind: str, id: str, name: str) -> Response:
        visit = await site.visit(request)
        access = await of_page(visit)
        target = f"{kind[:64]}/{id[:64]}/recordings/{name[:64]}"
        sits = await page_seat(access, kind, id, target)
        recordings, whole = await (await kept()).recordings(sits.consultation.room)
        found = next((r for r in recordings if r["name"] == name and _theirs(access, sits, r)), None)
        await noted(access, "consult-kept", target, 200 if found is not None else 404)
        if found is None:
            raise PageError(404 if whole else 503, "kept.gone" if whole else "kept.away")
        shown = _recording(found, await names(sits))
        return _playing(site.page(visit, "consult_play.html", place=f"{sits.consultation.path}/kept", recording=shown))

    # --- media

    async def viewer(request: Request, kind: str, id: str, target: str) -> tuple[Access, Seat]:
        """Who asks for media, as one who may. Raises Refused."""
        if not site.own_page(request):
            raise Refused(403, "form", "chỉ từ trang của hệ thống", "from the hub's own page only")
        visit = await site.visit(request)
        if visit.account is None or visit.session is None:
            raise Refused(401, "sign-in", "cần đăng nhập lại", "sign in again")
        bucket = rates.get(visit.account.id) or Bucket(RATE, BURST, time.monotonic())
        rates.put(visit.account.id, bucket)
        if not bucket.take(time.monotonic()):
            raise Refused(429, "rate", "quá nhiều yêu cầu, xin chậm lại", "too many requests; slow down")
        access = await of_page(visit)
        try:
            return access, await seat_of(access, kind, id, "consult-play", target)
        except NotHere:
            raise Refused(
                404, "not-found", "không có, hoặc bạn không (còn) được xem: cần có mặt trong buổi khám và sự đồng ý của người bệnh",
                "there is none, or you may not see it (any longer): it takes a place in the consultation and the patient's consent",
            ) from None  # fmt: skip
        except PermissionError:
            raise Refused(403, "role", "vai trò của bạn không xem được bản ghi", "not for your role in the consultation") from None

    async def played(access: Access, target: str, status: int) -> None:
        """In the trail before a byte goes out, once a play."""
        key = f"{access.who.claims.subject} {target}"
        last = plays.get(key)
        if status >= 400 or last is None or time.monotonic() - last > PLAY_SECONDS:
            await noted(access, "consult-play", target, status)
        if status < 400:
            plays.put(key, time.monotonic())

    async def media(
        request: Request, kind: str, id: str, what: str, name: str, bring: Callable[[Access, Seat], Awaitable[Content]]
    ) -> Response:
        target = f"{kind[:64]}/{id[:64]}/{what}/{name[:64]}"
        try:
            access, sits = await viewer(request, kind, id, target)
            try:
                content = await bring(access, sits)
            except LookupError:
                await played(access, target, 404)
                gone = "không có bản ghi hay lời nhắn này (nữa)", "there is no such recording or message (any longer)"
                raise Refused(404, "gone", *gone) from None
            except NoAnswer:
                raise Refused(503, "away", "máy chủ lưu bản ghi chưa trả lời", "the server that keeps it does not answer") from None
            await played(access, target, 200)
        except Refused as e:
            return _refused(e)
        return _Carried(content)

    @routes.get("/consult/{kind}/{id}/kept/recordings/{name}/{file}")
    async def track(request: Request, kind: str, id: str, name: str, file: str) -> Response:
        async def bring(access: Access, sits: Seat) -> Content:
            relay, room = await kept(), sits.consultation.room
            if sits.role in (Role.PATIENT, Role.CARER):
                found = next((r for r in (await relay.recordings(room))[0] if r["name"] == name), None)
                if found is None or not _theirs(access, sits, found):
                    raise LookupError(name)
            return await relay.recording(room, name, file)

        return await media(request, kind, id, "recordings", name, bring)

    @routes.get("/consult/{kind}/{id}/kept/messages/{message}")
    async def letter(request: Request, kind: str, id: str, message: str) -> Response:
        async def bring(access: Access, sits: Seat) -> Content:
            return await (await kept()).message(message, token(sits))

        return await media(request, kind, id, "messages", message, bring)

    return routes


def _theirs(access: Access, sits: Seat, recording: dict[str, Any]) -> bool:
    """A patient, or who cares for one, does not see what another patient is in."""
    if sits.role not in (Role.PATIENT, Role.CARER):
        return True
    patients = {p.partition(".")[2] for p in _people(recording) if p.startswith("Patient.")}
    return patients <= set(access.who.persons)


def _people(recording: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys([*recording["participants"], *(t["participant"] for t in recording["tracks"])]))


def _recording(recording: dict[str, Any], known: dict[str, str]) -> dict[str, Any]:
    """For templates; times in seconds since 1970."""
    people = []
    for p in _people(recording):
        tracks = [t for t in recording["tracks"] if t["participant"] == p]
        people.append({"id": p, "name": known.get(p) or p.replace(".", "/", 1), "tracks": tracks})
    return {
        "name": recording["name"], "at": _seconds(recording["started"]),
        "seconds": recording["seconds"], "length": clock(recording["seconds"]), "people": people,
        "cut": recording["why"] not in ("asked", "seconds", "bytes"),
    }  # fmt: skip


def _message(message: dict[str, Any], sits: Seat) -> dict[str, Any]:
    seen = message.get("seen")
    return {
        "id": message["id"], "name": message["name"], "at": _seconds(message["created"]), "until": _seconds(message["expires"]),
        "length": clock(message["seconds"]) if message.get("seconds") is not None else "", "bytes": message["length"],
        "sound": str(message["type"]).startswith("audio/"), "playable": str(message["type"]).startswith(("audio/", "video/")),
        "own": message["from"] == sits.participant, "seen": seen and {"name": seen["name"], "at": _seconds(seen["time"])},
    }  # fmt: skip


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def clock(seconds: float) -> str:
    """`4:05`, `1:02:03`."""
    whole = round(seconds)
    minutes = f"{whole // 60 % 60:02d}" if whole >= 3600 else str(whole // 60)
    return f"{f'{whole // 3600}:' if whole >= 3600 else ''}{minutes}:{whole % 60:02d}"


def _playing(answer: Response) -> Response:
    """Its players ask us, and nobody else."""
    answer.headers["Content-Security-Policy"] += "; media-src 'self'; connect-src 'self'"
    return answer


def _refused(e: Refused) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} | ({"Retry-After": "5"} if e.status in (429, 503) else {})
    return JSONResponse(e.body, e.status, headers=headers)


class _Carried(Response):
    """A relay's answer, with our own guards and without what else it says."""

    def __init__(self, content: Content) -> None:
        super().__init__()
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*((k, v) for k, v in message["headers"] if k in _PASSED), *_GUARDS]}
            await send(message)

        if not await self._content.give(scope, receive, guarded):
            away = Refused(503, "away", "máy chủ lưu bản ghi chưa trả lời", "the server that keeps it does not answer")
            await _refused(away)(scope, receive, send)


class _Recent:
    """The newest of what is remembered by a name, in this process."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def get(self, name: str) -> Any:
        return self._kept.get(name)

    def put(self, name: str, value: Any) -> None:
        self._kept[name] = value
        self._kept.move_to_end(name)
        while len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)
