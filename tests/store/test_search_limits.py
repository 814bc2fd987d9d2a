"""Searches at the limits: many values, long texts, wildcards, quotes; each ends in bounded time with an answer or a refusal."""

import pytest

from health_hub.fhir.outcome import FhirError
from health_hub.store.search import sql
from health_hub.store.store import Store
from tests.store.searching import found, observation, patient, put, query


async def test_a_thousand_values_of_every_kind(store: Store) -> None:
    await put(store, observation("o", effectiveDateTime="2024-02-03", valueQuantity={"value": 5}), patient("p", name=[{"family": "An"}]))
    many = range(1, 1000)
    assert await found(store, f"Observation?date={','.join(f'{1030 + n}' for n in many)}") == ["o"]
    assert await found(store, f"Observation?value-quantity={','.join(map(str, many))}") == ["o"]
    assert await found(store, f"Observation?code=8867-4,{','.join(f'x{n}' for n in many)}") == ["o"]
    assert await found(store, f"Observation?code:not={','.join(f'x{n}' for n in many)}") == ["o"]
    assert await found(store, f"Patient?name=an,{','.join(f'x{n}' for n in many)}") == ["p"]
    assert await found(store, f"Patient?name:contains=n,{','.join(f'x{n}' for n in many)}") == ["p"]
    assert await found(store, f"Patient?_id=p,{','.join(f'x{n}' for n in many)}") == ["p"]
    assert await found(store, f"Observation?subject={','.join(f'x{n}' for n in many)}") == []
    assert await found(store, f"Patient?_lastUpdated=gt2000,{','.join(f'{1030 + n}' for n in many)}") == ["p"]
    assert await found(store, f"Observation?code-value-quantity={','.join(f'8867-4$gt{n}' for n in range(4, 900))}") == ["o"]


async def test_too_many_keys_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "KEYS", 100)
    for text in (
        "Observation?code=" + ",".join(f"x{n}" for n in range(101)),
        "Observation?code:not=" + ",".join(f"x{n}" for n in range(101)),
    ):
        with pytest.raises(FhirError) as refusal:
            await store.view().search(query(text))
        assert refusal.value.issues[0].code == "too-costly"


@pytest.mark.parametrize(
    "text", ["%", "_", "*", "\\\\", "'", '"', "';DROP TABLE resource;--", "$1", "?1", "{}", "\U0010ffff", "\ud7ff", "ａ"]
)
async def test_texts_are_only_texts(store: Store, text: str) -> None:
    plain = text.replace("\\\\", "\\")
    await put(store, patient("a", name=[{"family": plain + "x"}]), patient("b", name=[{"family": "Nguyễn"}]))
    from urllib.parse import quote

    asked = quote(text)
    for modifier in ("", ":contains"):
        assert await found(store, f"Patient?family{modifier}={asked}") == ["a"]
    assert await found(store, f"Patient?family:exact={asked}") == []
    assert await found(store, f"Patient?family:exact={asked}x") == ["a"]
    assert await found(store, f"Patient?gender={asked}") == []


async def test_texts_longer_than_their_index(store: Store) -> None:
    long = "á" * 127 + "bc" * 100
    await put(store, patient("a", name=[{"family": long}]), patient("b", name=[{"family": "a" * 127 + "bd"}]))
    assert sorted(await found(store, "Patient?family=" + "a" * 127 + "b")) == ["a", "b"]
    assert await found(store, "Patient?family=" + "a" * 127 + "bc") == ["a"]
    assert await found(store, "Patient?family=" + "a" * 127 + "bcbc") == ["a"]
    assert await found(store, "Patient?family=" + "a" * 127 + "bcbd") == []
    assert await found(store, "Patient?family:contains=bcbcbc&_sort=family") == ["a"]
