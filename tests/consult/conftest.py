"""A small province (tests/access) with video consultations in it, its pages, and browsers of those who are signed in."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from health_hub.access.connect import Connected
from health_hub.auth.model import Account
from health_hub.consult import kept, relays
from health_hub.consult.routes import router
from health_hub.store.model import Change
from health_hub.web.pages import pages
from telemed.directory.choose import directory
from telemed.kept import Kept
from tests.access.conftest import Hub, hub, owned, ref, settings  # noqa: F401

ISSUER = "http://hub.test"
OWN = {"origin": ISSUER, "sec-fetch-site": "same-origin"}


def at(minutes: float) -> str:
    """From now."""
    return datetime.fromtimestamp(int(time.time() + 60 * minutes), UTC).isoformat()


def appointment(id: str, *people: str, start: float = -10, end: float = 50, **more: Any) -> dict[str, Any]:
    """Owned by facility a; start and end in minutes from now."""
    parts = [{"actor": {"reference": p, "display": p}, "status": "accepted"} for p in people]
    return {"resourceType": "Appointment", "id": id, "status": "booked", "start": at(start), "end": at(end), "participant": parts} | more


def visit(id: str, patient: str, *people: str, **more: Any) -> dict[str, Any]:
    """An Encounter of class VR at facility a."""
    return {
        "resourceType": "Encounter", "id": id, "status": "in-progress", "class": {"code": "VR"}, "subject": ref(f"Patient/{patient}"),
        "participant": [{"individual": ref(p)} for p in people], "period": {"start": at(-10)}, "serviceProvider": ref("Organization/a"),
    } | more  # fmt: skip


class Consults:
    """`who` signs in with a session made for them."""

    def __init__(self, hub: Hub, app: Any) -> None:  # noqa: F811
        self.hub, self.app = hub, app

    async def write(self, *resources: dict[str, Any], owner: str = "Organization/a") -> None:
        await self.hub.store.commit([Change("update", r["resourceType"], r["id"], r) for r in resources], by=owned(owner))

    async def browser(self, name: str, organization: str | None = None) -> httpx.AsyncClient:
        record = await self.hub.store.records.get("account", f"account-{name}")
        assert record is not None
        cookie, _ = await self.hub.authority.sessions.create(Account.of(record.data), amr=("pwd",), organization=organization)
        http = self.nobody()
        http.cookies.set("session", cookie, domain="hub.test")
        return http

    def nobody(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app, client=("198.51.100.7", 4000)), base_url=ISSUER)

    async def token(self, name: str, path: str, organization: str | None = None) -> httpx.Response:
        async with await self.browser(name, organization) as http:
            return await http.post(f"/consult/{path}/token", headers=OWN)

    async def seat(self, name: str, path: str, organization: str | None = None) -> tuple[int, str]:
        """(status, role or code)."""
        answer = await self.token(name, path, organization)
        return answer.status_code, answer.json().get("role") or answer.json()["code"]


@pytest.fixture
async def consults(hub: Hub, tmp_path: Path) -> AsyncIterator[Consults]:  # noqa: F811
    """Its relays are those of the directory telemed.db in tmp_path."""
    async def ready() -> None:
        pass

    Connected(hub.gate)
    found = directory(f"sqlite:///{tmp_path}/telemed.db")
    await found.open()
    keeper = Kept(found, relays.secret(hub.authority.settings, hub.store.secret))

    async def asked() -> Kept:
        return keeper

    app = pages(ready, hub.authority, [lambda site: router(site, hub.gate), lambda site: kept.router(site, hub.gate, asked)])
    yield Consults(hub, app)
    await found.close()
