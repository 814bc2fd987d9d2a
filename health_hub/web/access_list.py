"""Who read a record: for the patient and the carer, by day, with who, where, what and why; emergencies stand out."""

from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from health_hub.access.connect import PLAYED, Seen
from health_hub.web import times, type_words
from health_hub.web.site import Site, Visit
from health_hub.web.texts import TEXTS, text

# With these and no type named, it was the Patient itself.
_ONE = frozenset(("read", "vread", "create", "update", "patch", "delete", "history-instance"))
_WRITES, _DELETES = frozenset(("create", "update", "patch", "transaction", "batch")), frozenset(("delete",))


@dataclass(frozen=True, slots=True)
class Row:
    """at: seconds since 1970 UTC. The rest is as a person reads it."""

    at: float
    day: str
    who: str
    own: bool
    facility: str
    action: str
    what: str
    why: str
    note: str
    emergency: bool
    refused: bool


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/record/access")
    async def access(request: Request) -> Response:
        visit = await site.visit(request)
        signed = await site.role(visit, "patient", "carer")
        authority = site.authority
        people = await authority.patients(signed.account, None, "")
        chosen = visit.query("patient", 64)
        person = next((p for p in people if p.id == chosen), people[0] if people else None)
        rows: list[Row] = []
        older = ""
        if person is not None:
            page = await authority.access_list(signed.account, person.id, visit.query("after", 2000) or None)
            rows = [_row(site, visit, seen, signed.account.name) for seen in page.accesses]
            if page.after:
                older = f"/record/access?patient={quote(person.id)}&after={quote(page.after)}"
        days = [(day, list(group)) for day, group in groupby(rows, key=lambda r: r.day)]
        return site.page(visit, "access.html", people=people, person=person, days=days, older=older)

    return routes


def _row(site: Site, visit: Visit, seen: Seen, own_name: str) -> Row:
    lang = visit.lang
    moment = datetime.fromisoformat(seen.at)
    at = moment.timestamp()
    local = times.local(at, site.zone)
    kind = "delete" if seen.interaction in _DELETES else "write" if seen.interaction in _WRITES else "read"
    what = seen.what or (("Patient",) if seen.interaction in _ONE else ())
    known = f"why.{seen.why}" in TEXTS
    return Row(
        at=at,
        day=times.day(local, datetime.now(local.tzinfo), lang),
        who=seen.who,
        own=bool(own_name) and seen.who == own_name,
        facility=seen.facility_name or seen.facility,
        action=text(f"access.action.{kind}", lang),
        what=text("access.what.play", lang) if seen.interaction == PLAYED else ", ".join(type_words.type_word(w, lang) for w in what),
        why=text(f"why.{seen.why}" if known else "why.none", lang) if not seen.emergency else text("why.ETREAT", lang),
        note=seen.why if seen.emergency and not known else "",
        emergency=seen.emergency,
        refused=seen.refused,
    )
