"""Synthea's 24 patients and the bulk set, loaded as the command does it: every resource reads back as sent, numbers to the last zero."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from health_hub.commands.doors import Answer, Inside
from health_hub.commands.load import load
from health_hub.commands.sources import Sources
from health_hub.fhir.json import dumps, loads
from health_hub.settings import Settings
from health_hub.store.reindex import check
from health_hub.store.store import Store

DATA = Path(os.environ.get("HEALTH_HUB_DATA") or Path(__file__).parents[2] / "shared" / "data")
_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]+)\?identifier=")


class Recording:
    """A door that keeps what went through it."""

    def __init__(self, door: Inside) -> None:
        self.door = door
        self.sent: list[tuple[bytes, bytes]] = []

    async def post(self, bundle: bytes, mark: str) -> Answer:
        answer = await self.door.post(bundle, mark)
        self.sent.append((bundle, answer.body))
        return answer

    async def marked(self, names: Sequence[str]) -> set[str]:
        return await self.door.marked(names)

    async def mark(self, name: str) -> None:
        await self.door.mark(name)

    async def close(self) -> None:
        await self.door.close()


@pytest.mark.parametrize("name", ["synthea-24-patients.tar.xz", "synthea-bulk-10.tar.xz"])
async def test_reads_back_as_sent(name: str, database_url: str) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"HEALTH_HUB_DATA has no {name}")
    door = Recording(await Inside.open(Settings(db=database_url)))
    with Sources([DATA / name]) as found:
        report = await load(door, found, quiet=True)
    await door.close()
    assert not report.failures
    store = await Store.open(database_url)
    compared = 0
    for request, answer in door.sent:
        entries, answers = loads(request)["entry"], loads(answer)["entry"]
        located = [a["response"]["location"].split("/_history/")[0] for a in answers]
        names = {e["fullUrl"]: where for e, where in zip(entries, located, strict=True) if "fullUrl" in e}
        stored = await store.view().read_many([tuple(where.rsplit("/", 2)[-2:]) for where in located])
        for entry, a, now in zip(entries, answers, stored, strict=True):
            if a["response"]["status"].startswith("200") and entry["request"]["method"] == "POST":
                continue  # a conditional create that found its resource
            assert now
            assert now.doc
            differs = difference(entry["resource"], served(loads(now.doc)), names)
            assert differs is None, f"{now.reference} {differs}"
            compared += 1
    assert compared > 5000
    assert [p async for p in check(store)] == []
    await store.close()


def served(resource: dict[str, Any]) -> dict[str, Any]:
    """Without what the hub sets."""
    resource = {k: v for k, v in resource.items() if k != "id"}
    resource["meta"] = {k: v for k, v in resource["meta"].items() if k not in ("versionId", "lastUpdated")}
    return resource if resource["meta"] else {k: v for k, v in resource.items() if k != "meta"}


def difference(sent: Any, now: Any, names: dict[str, str], path: str = "") -> str | None:
    """Where the two differ, numbers as text and members in their order; references may have got their targets' new names."""
    if isinstance(sent, dict) and isinstance(now, dict):
        if not path:  # the hub gives the id, and puts it and meta first
            sent, now = ({k: r[k] for k in ("meta", *r) if k in r and k != "id"} for r in (sent, now))
        if list(sent) != list(now):
            return f"{path}: {list(sent)} became {list(now)}"
        return next((d for k in sent if (d := difference(sent[k], now[k], names, f"{path}.{k}")) is not None), None)
    if isinstance(sent, list) and isinstance(now, list) and len(sent) == len(now):
        pairs = enumerate(zip(sent, now, strict=True))
        return next((d for i, (a, b) in pairs if (d := difference(a, b, names, f"{path}[{i}]")) is not None), None)
    if dumps(sent) == dumps(now):
        return None
    if isinstance(sent, str) and path.endswith(".reference"):
        conditional = _CONDITIONAL.match(sent)
        if now == names.get(sent) or (conditional and now.startswith(f"{conditional[1]}/")):
            return None
    return f"{path}: {dumps(sent)!r} became {dumps(now)!r}"
