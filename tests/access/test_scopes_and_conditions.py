"""Conditional interactions whose scopes let find more than read, or the other way: refused in words, and at once."""

import time
from typing import Any

import pytest

from tests.access.conftest import Hub, observation
from tests.access.test_overwrite import JSON_PATCH, bundle

MARK = "http://x.vn/id|conditional"
MARKED = [{"system": "http://x.vn/id", "value": "conditional"}]
VITAL, LABORATORY = "category=vital-signs", "category=laboratory"
WRITES = "system/Observation.cud"


@pytest.mark.parametrize(("scope", "refused"), [
    (f"{WRITES} system/Observation.s system/Observation.r?{LABORATORY}", {"create", "patch"}),
    (f"{WRITES} system/Observation.s", {"create", "patch"}),
    (f"{WRITES} system/Observation.r system/Observation.s?{VITAL}", set()),
    (f"system/Observation.rs system/Observation.cud?{LABORATORY}", {"update", "patch", "delete"}),
])  # fmt: skip
async def test_a_match_that_may_be_found_and_not_read_is_refused(hub: Hub, scope: str, refused: set[str]) -> None:
    owner = hub.actor("his-a")
    for n, (name, method, url, extra) in enumerate((
        ("create", "POST", "Observation", {"If_None_Exist": f"identifier={MARK}"}),
        ("update", "PUT", f"Observation?identifier={MARK}", {}),
        ("patch", "PATCH", f"Observation?identifier={MARK}", JSON_PATCH),
        ("delete", "DELETE", f"Observation?identifier={MARK}", {}),
    )):  # fmt: skip
        for wrapped in (False, True):
            there = observation("cond", "an", identifier=MARKED)
            assert (await owner("PUT", "Observation/cond", there)).status_code in (200, 201)
            body: Any = None if method == "DELETE" else {k: v for k, v in there.items() if k != "id"}
            if method == "PATCH":
                body = [{"op": "replace", "path": "/status", "value": "amended"}]
            asker = hub.actor("his-a", scope=scope)
            began = time.monotonic()
            if wrapped:
                more = {"ifNoneExist": f"identifier={MARK}"} if name == "create" else {}
                if method == "PATCH":
                    body = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
                        {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Observation.status"},
                        {"name": "value", "valueCode": "amended"}]}]}  # fmt: skip
                answer = await asker("POST", "", bundle("transaction", method, url, body, **more))
            else:
                answer = await asker(method, url, body, **extra)
            took = time.monotonic() - began
            assert (answer.status_code == 403) == (name in refused), (name, wrapped, answer.status_code, answer.text)
            assert answer.status_code in (200, 204, 403), (name, wrapped, answer.status_code, answer.text)
            assert took < 20, (n, name, wrapped, took)
