"""A small province behind the gate: two facilities and what is around them, and somebody of each role to ask as."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from health_hub.access.gate import Gate
from health_hub.auth.authority import Authority
from health_hub.auth.model import Account
from health_hub.rest.app import FhirApp
from health_hub.settings import Settings
from health_hub.store.condition import EVERYTHING
from health_hub.store.model import Change, Filter, Writer
from health_hub.store.store import Store

BASE = "http://hub.test/fhir"


def ref(text: str) -> dict[str, str]:
    return {"reference": text}


def owned(owner: str | None, author: str | None = None) -> Writer:
    every = Filter.everything()
    return Writer(every, every, every, every, EVERYTHING, owner, author, ids=True)


def encounter(id: str, patient: str, facility: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Encounter", "id": id, "status": "in-progress", "class": {"code": "AMB"}, "subject": ref(f"Patient/{patient}"),
            "period": {"start": "2026-11-01T08:00:00+07:00"}, "serviceProvider": ref(facility)} | more  # fmt: skip


def observation(id: str, patient: str, **more: Any) -> dict[str, Any]:
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    vital = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}
    return {"resourceType": "Observation", "id": id, "status": "final", "category": [vital], "code": code,
            "subject": ref(f"Patient/{patient}")} | more  # fmt: skip


def role(id: str, who: str, facility: str) -> dict[str, Any]:
    return {"resourceType": "PractitionerRole", "id": id, "active": True, "practitioner": ref(who), "organization": ref(facility)}


CCCD = "http://fhir.hl7.org.vn/core/sid/cccd"
HIV = {"meta": {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV"}]}}
# By owner: facility A knows an and binh, facility B knows chi; binh has been at both.
PROVINCE: dict[str | None, list[dict[str, Any]]] = {
    None: [
        {"resourceType": "Organization", "id": "a", "name": "Trạm y tế A"},
        {"resourceType": "Organization", "id": "b", "name": "Bệnh viện B"},
        {"resourceType": "Practitioner", "id": "dung", "name": [{"text": "Dung"}]},
        {"resourceType": "Practitioner", "id": "giang", "name": [{"text": "Giang"}]},
        role("dung-a", "Practitioner/dung", "Organization/a"),
        role("giang-b", "Practitioner/giang", "Organization/b"),
    ],
    "Organization/a": [
        {"resourceType": "Patient", "id": "an", "name": [{"family": "An"}], "identifier": [{"system": CCCD, "value": "019190000001"}]},
        {"resourceType": "Patient", "id": "binh", "name": [{"family": "Bình"}]},
        {"resourceType": "RelatedPerson", "id": "me-binh", "patient": ref("Patient/binh"), "active": True},
        encounter("e-an", "an", "Organization/a"),
        encounter("e-binh", "binh", "Organization/a"),
        observation("o-an", "an"),
        observation("o-an-hiv", "an", **HIV),
        observation("o-binh", "binh"),
    ],
    "Organization/b": [
        {"resourceType": "Patient", "id": "chi", "name": [{"family": "Chi"}], "identifier": [{"system": CCCD, "value": "019190000003"}]},
        encounter("e-chi", "chi", "Organization/b"),
        encounter("e-binh-b", "binh", "Organization/b"),
        observation("o-chi", "chi"),
        observation("o-binh-b", "binh"),
        encounter("e-an-old", "an", "Organization/b", status="finished",
                  period={"start": "2020-01-01T08:00:00+07:00", "end": "2020-01-01T09:00:00+07:00"}),
    ],
}  # fmt: skip
WHO: dict[str, dict[str, Any]] = {
    "an": {"role": "patient", "fhir_user": "Patient/an"},
    "chi": {"role": "patient", "fhir_user": "Patient/chi"},
    "carer": {"role": "carer", "fhir_user": "RelatedPerson/me-binh"},
    "dung": {"role": "practitioner", "fhir_user": "Practitioner/dung", "organization": "Organization/a"},
    "giang": {"role": "nurse", "fhir_user": "Practitioner/giang", "organization": "Organization/b"},
    "his-a": {"role": "system", "organization": "Organization/a"},
    "his-b": {"role": "system", "organization": "Organization/b"},
    "province": {"role": "system"},
    "operator": {"role": "operator", "organization": "Organization/a"},
    "auditor": {"role": "auditor"},
    "admin": {"role": "administrator"},
}
DEFAULT_SCOPE = {"system": "system/*.cruds"}


class Actor:
    """Asks as somebody, with a token made for them."""

    def __init__(self, http: httpx.AsyncClient, authority: Authority, name: str, **more: Any) -> None:
        said = WHO[name] | more
        scope = said.pop("scope", None) or DEFAULT_SCOPE.get(said["role"], "user/*.cruds")
        said.setdefault("subject", f"account-{name}")
        self.token, self.claims = authority.tokens.issue(client="app", scope=scope, name=name, **said)
        self._http = http

    async def __call__(self, method: str, url: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        content = None
        if body is not None:
            sent.setdefault("Content-Type", "application/fhir+json")
            content = body if isinstance(body, str | bytes) else json.dumps(body)
        return await self._http.request(method, url, content=content, headers=sent)

    async def get(self, url: str) -> httpx.Response:
        return await self("GET", url)

    async def ids(self, url: str) -> set[str]:
        """`Type/id` of the entries of a search."""
        answer = await self.get(url)
        assert answer.status_code == 200, answer.text
        found = [e["resource"] for e in answer.json().get("entry", ())]
        return {f"{r['resourceType']}/{r['id']}" for r in found if "id" in r}


class Hub:
    """The gate, its store and everybody."""

    def __init__(self, store: Store, authority: Authority, gate: Gate, http: httpx.AsyncClient) -> None:
        self.store, self.authority, self.gate, self.http = store, authority, gate, http

    def actor(self, name: str, **more: Any) -> Actor:
        return Actor(self.http, self.authority, name, **more)


@pytest.fixture
def settings() -> Settings:
    return Settings(base_url=BASE)


@pytest.fixture
async def hub(store: Store, settings: Settings) -> AsyncIterator[Hub]:
    authority = Authority(store, settings)
    await authority.keys.load()
    gate = Gate(authority)
    for owner, resources in PROVINCE.items():
        await store.commit([Change("update", r["resourceType"], r["id"], r) for r in resources], by=owned(owner))
    for name, said in WHO.items():
        if said["role"] != "system":
            organizations = (said["organization"],) if said["role"] == "operator" else ()
            patient = "Patient/binh" if name == "carer" else None
            account = Account(f"account-{name}", name, said["role"], name, said.get("fhir_user"), organizations, patient=patient)
            await store.records.put("account", account.id, account.data())
    transport = httpx.ASGITransport(app=FhirApp(store, settings, gate), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=BASE + "/") as http:
        yield Hub(store, authority, gate, http)
