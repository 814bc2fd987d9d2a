"""kill -9 while records are read and written: every answer that was given is in the audit trail, once, and the trail is whole."""

import asyncio
import base64
import json
import random
import re
from collections import Counter

import pytest

from bench.client import Client
from bench.processes import Hub
from health_hub.access.scribe import Scribe
from health_hub.auth.authority import Authority
from health_hub.settings import Settings
from health_hub.store.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
BASE = "http://hub.test/fhir"


async def token(url: str) -> str:
    store = await Store.open(url, base=BASE)
    try:
        authority = Authority(store, Settings(base_url=BASE))
        await authority.keys.load()
        made, _ = authority.tokens.issue(subject="crash", client="crash", role="system", scope="system/*.cruds", name="crash")
        return made
    finally:
        await store.close()


async def work(port: int, held: str, seed: int, answered: list[tuple[str, str]]) -> None:
    """Reads what is not there and writes what was not, under names of their own, until the server is gone."""
    client, rnd = Client("127.0.0.1", port, held), random.Random(seed)
    while True:
        name = f"x{rnd.getrandbits(60)}"
        try:
            if rnd.random() < 0.8:
                await client.call("GET", f"/fhir/Basic/{name}", want=(404,))
                answered.append(("read", name))
            else:
                body = json.dumps({"resourceType": "Basic", "id": name, "code": {"text": "x"}}).encode()
                await client.call("PUT", f"/fhir/Basic/{name}", body, (201,))
                answered.append(("update", name))
        except Exception:
            await client.close()
            return


async def told(url: str) -> tuple[Counter[tuple[str, str]], list[str]]:
    """How often the trail tells each access, as AuditEvents; what is wrong with it."""
    store = await Store.open(url, base=BASE)
    try:
        await Scribe(store, "Asia/Ho_Chi_Minh").catch_up()
        found: Counter[tuple[str, str]] = Counter()
        async for s in store.view().scan(["AuditEvent"]):
            event = json.loads(s.doc or b"")
            text = json.dumps(event.get("entity", "")) + event.get("outcomeDesc", "")
            kind = event["subtype"][0]["code"]
            for entity in event.get("entity", ()):
                if "query" in entity:
                    text += base64.b64decode(entity["query"]).decode()
            found.update((kind, name) for name in set(re.findall(r"x\d{5,}", text)))
        return found, [p async for p in store.trail.check()]
    finally:
        await store.close()


async def test_every_answer_is_in_the_trail_once_whatever_moment_the_server_is_killed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEALTH_HUB_BASE_URL", BASE)
    held = await token(database_url)
    hub = await asyncio.to_thread(lambda: Hub(database_url, None, auth=True))
    answered: list[tuple[str, str]] = []
    try:
        for turn in range(2):
            workers = [asyncio.create_task(work(hub.port, held, turn * 10 + n, answered)) for n in range(6)]
            await asyncio.sleep(1.2 + turn * 0.3)
            await asyncio.to_thread(hub.kill)
            await asyncio.gather(*workers)
            await asyncio.to_thread(hub.start)
    finally:
        await asyncio.to_thread(hub.stop)
        hub.log.close()
    found, problems = await told(database_url)
    assert problems == []
    missing = [a for a in answered if a not in found]
    assert not missing, f"{len(missing)} of {len(answered)} answers are not in the trail"
    assert max(found.values()) == 1
    assert len(answered) > 100, "too little happened before the crash to prove anything"
