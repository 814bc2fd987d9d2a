"""Whole Synthea records as transactions, and what a large transaction leaves to others."""

import asyncio
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from health_hub.fhir import references
from tests.rest.bundles import A, bundle, entry, observation, patient, statuses


async def test_others_are_served_while_a_large_transaction_runs(client: httpx.AsyncClient) -> None:
    entries = [
        entry("POST", "Patient", patient(), A),
        *[entry("POST", "Observation", observation(A, note=[{"text": "x" * 500}])) for _ in range(3000)],
    ]
    body = json.dumps(bundle("transaction", *entries)).encode()
    await client.put("Patient/other", json=patient(id="other"))
    running = asyncio.create_task(client.post("", content=body, headers={"Content-Type": "application/fhir+json"}, timeout=120))
    served = 0
    while not running.done():
        assert (await client.get("Patient/other")).status_code == 200
        served += 1
        await asyncio.sleep(0.005)
    response = await running
    assert set(statuses(response.json()["entry"])) == {"201"}
    assert served >= 5, "they waited for most of it"


def _bundles(name: str) -> dict[str, Any]:
    folder = os.environ.get("HEALTH_HUB_DATA")
    if not folder:
        pytest.skip("HEALTH_HUB_DATA is not set")
    out: dict[str, Any] = {}
    with tarfile.open(Path(folder) / name) as archive:
        members = sorted((m for m in archive if m.name.endswith(".json")), key=lambda m: m.size)
        for member in [*members[:3], *[m for m in members if "Information" in m.name]]:
            data = archive.extractfile(member)
            assert data is not None
            out[member.name] = json.loads(data.read())
    return out


async def test_synthea_records_go_through_whole(client: httpx.AsyncClient) -> None:
    bundles = _bundles("synthea-24-patients.tar.xz")
    people = [b for name, b in bundles.items() if "Information" not in name]
    wanted = {text for b in people for e in b["entry"] for _, _, text in references.find(e["resource"]) if "?" in text}
    shared = [e for name, b in bundles.items() if "Information" in name for e in b["entry"] if _named(e) & wanted]
    for part in (shared, shared):  # twice: conditional creates find what they made
        response = await client.post("", json=bundle("batch", *part), timeout=120)
        assert set(statuses(response.json()["entry"])) <= {"200", "201"}
    for person in people:
        response = await client.post("", json=person, timeout=120)
        assert response.status_code == 200, response.text[:1000]
        names = [e["response"]["location"].partition("/_history/")[0] for e in response.json()["entry"]]
        assert len(names) == len(person["entry"])
        new = dict(zip((e["fullUrl"] for e in person["entry"]), names, strict=True))
        for sent, name in list(zip(person["entry"], names, strict=True))[:: max(1, len(names) // 40)]:
            stored = (await client.get(name)).json()
            assert _without(stored) == _without(_renamed(sent["resource"], new)) or _searches(sent["resource"])
            assert all(text[:4] != "urn:" and "?" not in text for _, _, text in references.find(stored))


def _named(entry: dict[str, Any]) -> set[str]:
    """How others refer to an Organization, Location or Practitioner of the Bundle."""
    resource = entry["resource"]
    return {f"{resource['resourceType']}?identifier={i.get('system')}|{i.get('value')}" for i in resource.get("identifier", ())}


def _renamed(resource: dict[str, Any], new: dict[str, str]) -> dict[str, Any]:
    for slot in references.find(resource):
        if slot[2] in new:
            references.fill(slot, new[slot[2]])
    return resource


def _searches(resource: dict[str, Any]) -> bool:
    return any("?" in text for _, _, text in references.find(resource))


def _without(resource: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in resource.items() if k not in ("id", "meta")}
