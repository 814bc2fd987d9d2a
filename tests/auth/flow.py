"""An application, a person and their browser, as far as a token: the steps of the code flow, each one to be tampered with."""

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from health_hub.auth import authorize
from health_hub.auth.authority import Authority, Facility, Person
from health_hub.auth.model import Account, Client, Session
from health_hub.auth.routes import routers
from health_hub.store.store import Store
from tests.auth.door import ISSUER, Door, door

AUD = f"{ISSUER}/fhir"
REDIRECT = "https://app.example.vn/cb"
BROWSER = "a-browser's-cookie"
SCOPE = "openid fhirUser profile launch launch/patient launch/encounter offline_access online_access patient/*.rs user/*.cruds"
OWN = {"patient": "Patient/bn-001", "carer": "RelatedPerson/me-01", "practitioner": "Practitioner/bs-01", "nurse": "Practitioner/dd-01"}


@dataclass
class Flow:
    door: Door
    visible: dict[str, set[str]] = field(default_factory=dict)  # account id: patients

    @property
    def authority(self) -> Authority:
        return self.door.authority

    async def app(self, **fields: Any) -> tuple[Client, str]:
        return await self.door.client(**{"scope": SCOPE, "token_endpoint_auth_method": "none", "redirect_uris": (REDIRECT,)} | fields)

    async def person(self, role: str = "patient", login: str = "bn.hoa", sees: tuple[str, ...] = ("bn-001",), **more: Any) -> Account:
        account = await self.authority.accounts.add(login, role, name="Hoa", fhir_user=OWN.get(role), **more)  # type: ignore[arg-type]
        self.visible[account.id] = set(sees)
        return account

    async def session(self, account: Account, **more: Any) -> Session:
        return (await self.authority.sessions.create(account, amr=("pwd",), **more))[1]

    async def begin(self, client: Client, *, verifier: str = "", drop: tuple[str, ...] = (), **params: Any) -> authorize.Pending:
        asked = request(client, verifier or secrets.token_urlsafe(48)) | {k: v for k, v in params.items() if v is not None}
        return await authorize.begin(self.authority, [(k, v) for k, v in asked.items() if k not in drop], BROWSER)

    async def code(
        self, client: Client, session: Session, *, verifier: str, agreed: str | None = None, patient: str | None = None, **params: Any
    ) -> dict[str, str]:
        """What the application hears when the person agrees to all that is offered (or to `agreed`)."""
        pending = await self.begin(client, verifier=verifier, **params)
        scope = agreed or await authorize.offered(self.authority, pending, session)
        return query(await authorize.finish(self.authority, pending, session, scope=scope, patient=patient))

    async def redeem(self, client: Client, code: str, verifier: str, *, secret: str = "", **more: Any) -> httpx.Response:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "code_verifier": verifier} | more
        return await self.token(client, {k: v for k, v in form.items() if v is not None}, secret=secret)

    async def refresh(self, client: Client, refresh_token: str, *, secret: str = "", **more: str) -> httpx.Response:
        return await self.token(client, {"grant_type": "refresh_token", "refresh_token": refresh_token} | more, secret=secret)

    async def token(
        self, client: Client, form: dict[str, str], *, secret: str = "", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        async with self.door.from_() as http:
            if secret:
                return await http.post("/auth/token", data=form, auth=(client.id, secret), headers=headers)
            return await http.post("/auth/token", data={"client_id": client.id} | form, headers=headers)

    async def tokens(self, client: Client, session: Session, *, secret: str = "", **params: Any) -> dict[str, Any]:
        """The whole way."""
        verifier = secrets.token_urlsafe(48)
        answer = await self.code(client, session, verifier=verifier, **params)
        response = await self.redeem(client, answer["code"], verifier, secret=secret)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def alive(self, access_token: str) -> bool:
        return (await self.door.ask("GET", "/auth/userinfo", token=access_token)).status_code == 200


def challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def request(client: Client, verifier: str) -> dict[str, str]:
    return {
        "response_type": "code", "client_id": client.id, "redirect_uri": REDIRECT, "scope": "openid fhirUser launch/patient patient/*.rs",
        "state": "a-state", "nonce": "a-nonce", "aud": AUD, "code_challenge": challenge(verifier), "code_challenge_method": "S256",
    }  # fmt: skip


def query(url: str) -> dict[str, str]:
    """The answer in a redirect, each parameter once."""
    found = parse_qs(urlsplit(url).query, keep_blank_values=True)
    assert all(len(v) == 1 for v in found.values())
    return {k: v[0] for k, v in found.items()}


@asynccontextmanager
async def flow(store: Store, **settings: Any) -> AsyncIterator[Flow]:
    d = await door(store, **settings)
    for router in routers(d.authority):
        d.app.include_router(router)
    f = Flow(d)

    async def may_see(account: Account, organization: str | None, patient: str) -> bool:
        return patient in f.visible.get(account.id, ())

    async def patients(account: Account, organization: str | None, text: str) -> list[Person]:
        return [Person(p, p) for p in sorted(f.visible.get(account.id, ()))]

    async def facilities(account: Account) -> list[Facility]:
        return [Facility(o, o) for o in account.organizations]

    d.authority.may_see, d.authority.patients, d.authority.facilities = may_see, patients, facilities
    d.authority.restriction_ok = lambda type, query: type != "*" and query.startswith(("category=", "status="))
    try:
        yield f
    finally:
        await d.authority.stop()
