"""What is stored is what was sent, in either format, through every way in and out (issue: lossless)."""

import json
from typing import Any

import httpx
import pytest

JSON, XML = {"Content-Type": "application/fhir+json"}, {"Content-Type": "application/fhir+xml"}

DOCUMENTS = {
    "numbers": '{"resourceType":"Observation","id":"x","status":"final",'
    '"code":{"text":"t"},"valueQuantity":{"value":0.000000000000000000010},'
    '"component":[{"code":{"text":"a"},"valueQuantity":{"value":1e2}},{"code":{"text":"b"},"valueQuantity":{"value":-0}},'
    '{"code":{"text":"c"},"valueQuantity":{"value":12345678901234567890.123456789}},{"code":{"text":"d"},"valueInteger":2147483647}]}',
    "nulls": '{"resourceType":"Patient","id":"x","name":[{"given":["A",null,"C"],"_given":[null,{"extension":[{"url":"http://e","valueCode":"x"}]},null]},'
    '{"family":"B","_family":{"id":"f","extension":[{"url":"http://e","valueBoolean":false}]}}],'
    '"_birthDate":{"extension":[{"url":"http://e","valueDateTime":"1980-01-01T00:00:00.1200+07:00"}]}}',
    "text": '{"resourceType":"Patient","id":"x","text":{"status":"additional",'
    '"div":"<div xmlns=\\"http://www.w3.org/1999/xhtml\\">a &lt; b &amp; '
    'c<br/> <b>\\u0110\\u1eb7ng</b>\\n<!-- note --><p title=\'x \\"y\\"\'>z</p></div>"},'
    '"name":[{"text":"  hai  khoảng\\ttrắng \\n dòng "},{"text":"Nguye\\u0302\\u0303n"},{"text":"😀 \\u2028"}]}',
    "order": '{"resourceType":"Patient","id":"x","gender":"male","active":true,"contact":[{"name":{"family":"B","use":"usual"}}],'
    '"modifierExtension":[{"url":"http://m","valueString":"v"}],"extension":[{"url":"http://c","extension":[{"url":"d","valueDecimal":1.0}]}],'
    '"contained":[{"resourceType":"Organization","id":"o","name":"n"}],"managingOrganization":{"reference":"#o"}}',
    "bundle": '{"resourceType":"Bundle","id":"x","type":"collection","entry":[{"fullUrl":"urn:uuid:00000000-0000-0000-0000-000000000001",'
    '"resource":{"resourceType":"Observation","id":"1","meta":{"versionId":"9"},"status":"final","code":{"text":"t"},"valueQuantity":{"value":1.10}}}]}',
    "meta": '{"resourceType":"Patient","id":"x","meta":{"id":"m","extension":[{"url":"http://e","valueString":"v"}],"source":"http://s#1",'
    '"profile":["http://p|1","http://q"],"security":[{"system":"http://s","code":"R"}],"tag":[{"code":"t","display":"T"}]},"implicitRules":"http://r","language":"vi"}',
}


def plain(text: str) -> Any:
    """Members in their order, numbers as text, without what the hub sets."""

    def members(pairs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        return list(pairs)

    read = json.loads(text, parse_float=lambda t: ("number", t), parse_int=lambda t: ("number", t), object_pairs_hook=members)
    out = []
    for name, value in read:
        if name == "meta":
            value = [m for m in value if m[0] not in ("versionId", "lastUpdated")]
            if not value:
                continue
        out.append((name, value))
    first = [m for m in out if m[0] in ("resourceType", "id", "meta")]
    return [*first, *(m for m in out if m not in first)]


def sorted_members(value: Any) -> Any:
    if isinstance(value, list) and value and all(isinstance(m, tuple) and len(m) == 2 and isinstance(m[0], str) for m in value):
        return sorted((name, sorted_members(v)) for name, v in value)
    return [sorted_members(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_by_every_way_in_and_out(client: httpx.AsyncClient, name: str) -> None:
    sent = DOCUMENTS[name]
    kind = json.loads(sent)["resourceType"]
    url = f"{kind}/x"
    answer = await client.put(url, content=sent.encode(), headers=JSON)
    assert answer.status_code == 201, answer.text
    want = plain(sent)
    assert plain(answer.text) == want
    assert plain((await client.get(url)).text) == want
    assert plain((await client.get(f"{url}/_history/1")).text) == want

    bundle = f'{{"resourceType":"Bundle","type":"transaction","entry":[{{"resource":{sent},"request":{{"method":"PUT","url":"{url}"}}}}]}}'
    answer = await client.post("", content=bundle.encode(), headers=JSON)
    assert answer.status_code == 200, answer.text
    assert plain((await client.get(url)).text) == want

    for query in (f"{kind}?_id=x", f"{url}/_history?_count=1"):
        text = (await client.get(query)).text
        start = text.index('"resource":', text.index('"fullUrl"')) + len('"resource":')
        found, _ = json.JSONDecoder().raw_decode(text[start:])
        assert text[start:].startswith((await client.get(url)).text), query
        assert found["id"] == "x"

    xml = await client.get(url, headers={"Accept": "application/fhir+xml"})
    back = await client.put(url, content=xml.content, headers=XML)
    assert back.status_code == 200, back.text
    # XML has an order of its own.
    assert sorted_members(plain((await client.get(url)).text)) == sorted_members(want)
    pretty = (await client.get(f"{url}?_pretty=true")).text
    assert plain(pretty) == plain((await client.get(url)).text)


async def test_a_patch_leaves_the_rest_as_it_was(client: httpx.AsyncClient) -> None:
    sent = DOCUMENTS["numbers"]
    await client.put("Observation/x", content=sent.encode(), headers=JSON)
    patch = [{"op": "add", "path": "/note", "value": [{"text": "n"}]}]
    answer = await client.patch("Observation/x", json=patch, headers={"Content-Type": "application/json-patch+json"})
    assert answer.status_code == 200, answer.text
    note = json.loads('{"note": [{"text": "n"}]}', object_pairs_hook=list)
    assert plain(answer.text) == plain(sent) + note


async def test_elements_keep_the_text_of_numbers(client: httpx.AsyncClient) -> None:
    await client.put("Observation/x", content=DOCUMENTS["numbers"].encode(), headers=JSON)
    for query in ("_elements=valueQuantity,component", "_summary=data"):
        text = (await client.get(f"Observation/x?{query}")).text
        assert "0.000000000000000000010" in text, query
        assert "12345678901234567890.123456789" in text, query
