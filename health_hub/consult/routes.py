"""Pages and answers of consultations: the list, the room, join tokens for pages and applications, invitations for guests."""

import hashlib
import re
import time
from dataclasses import replace

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from health_hub.access import entry as entries
from health_hub.access.gate import Access, Gate
from health_hub.auth.model import AuthError
from health_hub.consult import invites, record, relays
from health_hub.consult.listed import listed
from health_hub.consult.who import HOSTS, Closed, NotHere, Seat, seat
from health_hub.web.site import PageError, Site, Visit
from telemed import page
from telemed.rooms.roles import Role
from telemed.tokens import NAME_CHARS

JOIN_SECONDS = 300
BODY_MAX = 4096
_DEVICE = re.compile(r"[a-z0-9-]{1,12}").fullmatch


def router(site: Site, gate: Gate) -> APIRouter:
    """For health_hub.web.pages."""
    routes = APIRouter()
    settings, store = gate.authority.settings, gate.store
    tokens = relays.tokens(settings, store.secret)

    async def of_page(visit: Visit) -> Access:
        signed = await site.person(visit)
        return await gate.person(signed.account, signed.session.organization, site.caller(visit).address)

    async def noted(access: Access, target: str, status: int) -> None:
        if status >= 400:
            access.shown.clear()  # it was looked at, and not shown
        await store.commit([], trail=[access.entry("consult-join", "E", status, target)])

    async def seat_of(access: Access, kind: str, id: str, what: str) -> Seat:
        """NotHere is noted in the trail, as every refusal is."""
        try:
            found = await seat(gate, access, kind, id)
        except (NotHere, Closed) as e:
            await noted(access, f"{kind[:64]}/{id[:64]}/{what}", 404 if isinstance(e, NotHere) else 403)
            raise
        return found

    def ticket(sits: Seat, device: str = "") -> Response:
        """device: of the person who sits there; it comes beside them, as a participant of its own."""
        consultation = sits.consultation
        if device:
            participant, name = f"device.{device}.{sits.participant}", f"{device} · {sits.name}"[:NAME_CHARS]
            sits = replace(sits, participant=participant, name=name, role=Role.DEVICE)
        token = tokens.issue(
            room=consultation.room, participant=sits.participant, name=sits.name, role=sits.role, main=sits.role is Role.DOCTOR,
            seconds=JOIN_SECONDS,
        )  # fmt: skip
        body = {
            "token": token, "expires_in": JOIN_SECONDS, "room": consultation.room, "participant": sits.participant, "role": sits.role.value,
            "websocket": "/telemed/ws", "whip": f"/telemed/whip/{consultation.room}", "whep": f"/telemed/whep/{consultation.room}",
        }  # fmt: skip
        return _answer(body)

    # --- pages

    @routes.get("/consult")
    async def mine(request: Request) -> Response:
        visit = await site.visit(request)
        access = await of_page(visit)
        found = await listed(gate, access)
        await store.commit([], trail=[access.entry("search-type", "E", 200, "consultations of today")])
        return site.page(visit, "consults.html", consults=found)

    @routes.get("/consult/guest")
    async def guest_page(request: Request) -> Response:
        answer = site.page(await site.visit(request), "consult_guest.html", plain=True)
        answer.headers["Content-Security-Policy"] += "; connect-src 'self'"  # its script asks us
        return answer

    @routes.get("/consult/{kind}/{id}")
    async def room(request: Request, kind: str, id: str) -> Response:
        visit = await site.visit(request)
        access = await of_page(visit)
        try:
            await seat_of(access, kind, id, "room")
        except NotHere:
            raise PageError(404) from None
        except Closed as e:
            return site.page(visit, "consult_closed.html", 403, place=f"/consult/{kind}/{id}", why=e.why, opens=e.opens)
        # Another person who signs in in the same tab does not come back as the one before.
        who = hashlib.sha256(access.who.claims.subject.encode()).hexdigest()[:16]
        return site.finish(visit, page.room(request, join=f"/consult/{kind}/{id}/token?as={who}", back="/consult"))

    @routes.get("/consult/{kind}/{id}/invite")
    async def invite_form(request: Request, kind: str, id: str) -> Response:
        visit = await site.visit(request)
        sits = await _host(await of_page(visit), kind, id)
        return site.page(visit, "consult_invite.html", place=sits.consultation.path, link="", until=0, error=False, name="")

    @routes.post("/consult/{kind}/{id}/invite")
    async def invite(request: Request, kind: str, id: str) -> Response:
        visit = await site.visit(request)
        access = await of_page(visit)
        form = await site.form(visit)
        sits = await _host(access, kind, id)
        name, role = form.get("name", 200), form.get("role", 20)
        try:
            made = await invites.invite(store, sits.consultation, name, Role(role), access.who.claims.subject)
        except ValueError:
            return site.page(visit, "consult_invite.html", 422, place=sits.consultation.path, link="", until=0, error=True, name=name)
        return site.page(
            visit, "consult_invite.html", place=sits.consultation.path, link=f"{gate.authority.issuer}{made.path}", until=made.until,
            error=False, name=name,
        )  # fmt: skip

    async def _host(access: Access, kind: str, id: str) -> Seat:
        try:
            sits = await seat_of(access, kind, id, "invite")
        except (NotHere, Closed):
            raise PageError(404) from None
        if sits.role not in HOSTS:
            await noted(access, f"{kind}/{id}/invite", 403)
            raise PageError(403)
        await noted(access, f"{kind}/{id}/invite", 200)
        return sits

    @routes.get("/consult/{kind}/{id}/summary")
    async def summary(request: Request, kind: str, id: str) -> Response:
        """What was measured and noted, for the doctors in it, also when it is over."""
        visit = await site.visit(request)
        access = await of_page(visit)
        try:
            sits = await seat(gate, access, kind, id, closed=True)
        except NotHere:
            await noted(access, f"{kind[:64]}/{id[:64]}/summary", 404)
            return _refused(404, "not-found", "không có buổi khám này", "there is no such consultation")
        if sits.role not in HOSTS:
            await noted(access, f"{kind}/{id}/summary", 403)
            return _refused(403, "forbidden", "chỉ dành cho bác sĩ", "for the doctors in it")
        await noted(access, f"{kind}/{id}/summary", 200)
        kept = await store.records.get(record.KIND, sits.consultation.room)
        return _answer(kept.data if kept is not None else {"participants": {}})

    # --- join tokens

    @routes.post("/consult/guest/token")
    async def guest_token(request: Request) -> Response:
        """JSON `{"invite": "..."}` from our own page."""
        if not _own(site, request):
            return _refused(403, "form", "chỉ từ trang của hệ thống", "from the hub's own page only")
        key = await _key(request)
        try:
            sits = await invites.guest(store, settings, key)
        except NotHere:
            return _refused(404, "invite", "lời mời không còn hiệu lực", "the invitation has ended or there is none")
        except Closed as e:
            return _closed(e)
        address = request.client.host if request.client else ""
        consultation = sits.consultation
        said = entries.Entry(
            time.time_ns() // 1_000_000, "consult-join", "E", 200, name=sits.name, role="guest", address=address,
            resources=[f"{consultation.kind}/{consultation.id}"], patients=consultation.patients(), note=f"{sits.role}",
        )  # fmt: skip
        await gate.note(said)
        return ticket(sits)

    @routes.post("/consult/{kind}/{id}/token")
    async def token(request: Request, kind: str, id: str) -> Response:
        """For our own page, with the session's cookie, and for applications with an access token.

        `?device=NAME`: for a device that the person brings in by WHIP, an ultrasound machine for instance.
        """
        if (authorization := request.headers.get("authorization")) is not None:
            url = f"{gate.authority.issuer}{request.url.path}"
            dpop = request.headers.get("dpop")
            address = request.client.host if request.client else None
            try:
                access = await gate.admit(authorization.encode("latin-1"), dpop.encode("latin-1") if dpop else None, "POST", url, address)
            except AuthError as e:
                answer = _refused(e.status, e.error or "token", "cần mã truy cập", e.description)
                answer.headers["WWW-Authenticate"] = f'Bearer error="{e.error}"' if e.error else "Bearer"
                for name, value in e.headers:
                    answer.headers[name] = value
                return answer
        else:
            if not _own(site, request):
                return _refused(403, "form", "chỉ từ trang của hệ thống", "from the hub's own page only")
            visit = await site.visit(request)
            if visit.account is None or visit.session is None:
                return _refused(401, "sign-in", "cần đăng nhập", "sign in first")
            access = await of_page(visit)
        try:
            sits = await seat_of(access, kind, id, "token")
        except NotHere:
            return _refused(404, "not-found", "không có buổi khám này", "there is no such consultation")
        except Closed as e:
            return _closed(e)
        device = request.query_params.get("device", "")
        if device and (not _DEVICE(device) or sits.role not in HOSTS | {Role.NURSE}):
            await noted(access, f"{kind}/{id}/token", 403)
            told = "tên thiết bị: a-z 0-9 -, tối đa 12; cho bác sĩ và điều dưỡng", "for doctors and nurses; its name: a-z 0-9 -, 12 at most"
            return _refused(403, "device", *told)
        await noted(access, f"{kind}/{id}/token", 200)
        return ticket(sits, device)

    return routes


def _own(site: Site, request: Request) -> bool:
    """From a page of ours: a browser of today says so, and one that says nothing is no browser."""
    said = "sec-fetch-site" in request.headers or "origin" in request.headers
    return said and site.own_page(request)


async def _key(request: Request) -> str:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_MAX:
            return ""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return ""
    key = said.get("invite") if isinstance(said, dict) else None
    return key if isinstance(key, str) and key.isascii() else ""


def _answer(body: dict[str, object], status: int = 200) -> Response:
    return JSONResponse(body, status, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})


def _refused(status: int, code: str, vi: str, en: str) -> Response:
    return _answer({"code": code, "vi": vi, "en": en}, status)


def _closed(e: Closed) -> Response:
    if e.why == "early":
        return _refused(403, "early", "buổi khám chưa mở", "the consultation is not open yet")
    return _refused(403, "over", "buổi khám đã kết thúc", "the consultation is over")
