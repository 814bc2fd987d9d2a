"""$graphql: the examples of R4's page, references, searches, connections, mutations, limits, the schema itself."""

import json
from typing import Any

import httpx
import pytest
from graphql import build_client_schema, get_introspection_query, parse, validate, validate_schema

from tests.rest.bundles import done, entry, identified, observation, patient

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "example",
    "active": True,
    "identifier": [{"system": "urn:oid:1.2.36.146.595.217.0.1", "value": "12345"}],
    "name": [
        {"use": "official", "family": "Chalmers", "given": ["Peter", "James"]},
        {"use": "usual", "given": ["Jim"]},
        {"use": "maiden", "family": "Windsor", "given": ["Peter", "James"]},
    ],
    "birthDate": "1974-12-25",
    "_birthDate": {"extension": [{"url": "http://example.org/time", "valueDateTime": "1974-12-25T14:35:45-05:00"}]},
    "contact": [{"name": {"family": "du Marché"}, "gender": "female"}],
}


async def ask(client: httpx.AsyncClient, query: str, at: str = "", **variables: Any) -> Any:
    response = await client.post(f"{at}$graphql", json={"query": query, "variables": variables})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/json")
    body = response.json()
    assert "errors" not in body
    return body["data"]


async def fails(client: httpx.AsyncClient, query: str, at: str = "", status: int = 400, **variables: Any) -> str:
    response = await client.post(f"{at}$graphql", json={"query": query, "variables": variables})
    assert response.status_code == status, response.text
    body = response.json()
    assert body["data"] is None
    error = body["errors"][0]
    assert error["extensions"]["resource"]["resourceType"] == "OperationOutcome"
    message: str = error["message"]
    return message


@pytest.fixture
async def example(client: httpx.AsyncClient) -> httpx.AsyncClient:
    assert (await client.put("Patient/example", json=PATIENT)).status_code == 201
    return client


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ name { text given family } }", {"name": [{k: n[k] for k in ("given", "family") if k in n} for n in PATIENT["name"]]}),
        ("{ birthDate _birthDate { extension { valueDateTime } } }",
         {"birthDate": "1974-12-25", "_birthDate": {"extension": [{"valueDateTime": "1974-12-25T14:35:45-05:00"}]}}),
        ('{ name(fhirpath: "family.exists()") { family } }', {"name": [{"family": "Chalmers"}, {"family": "Windsor"}]}),
        ('{ name(fhirpath: "$index = 1") { given } }', {"name": [{"given": ["Jim"]}]}),
        ("{ name(use: official) { family } }", {"name": [{"family": "Chalmers"}]}),
        ('{ time: _birthDate { e: extension(url: "http://example.org/time") { valueDateTime } } }',
         {"time": {"e": [{"valueDateTime": "1974-12-25T14:35:45-05:00"}]}}),
        ("{ name(_offset: 1, _count: 1) { given } }", {"name": [{"given": ["Jim"]}]}),
        ("{ identifier @flatten { system value } active name @flatten { text given family } }",
         {"system": ["urn:oid:1.2.36.146.595.217.0.1"], "value": ["12345"], "active": True,
          "given": ["Peter", "James", "Jim", "Peter", "James"], "family": ["Chalmers", "Windsor"]}),
        ("{ name @flatten { text given @first family } }", {"given": ["Peter", "Jim", "Peter"], "family": ["Chalmers", "Windsor"]}),
        ("{ identifier @flatten { system @singleton } name @flatten @first { given family @singleton } }",
         {"system": "urn:oid:1.2.36.146.595.217.0.1", "given": ["Peter", "James"], "family": "Chalmers"}),
        ('{ name @flatten @slice(path: "use") { given family @singleton } }',
         {"given.official": ["Peter", "James"], "family.official": "Chalmers", "given.usual": ["Jim"], "given.maiden": ["Peter", "James"],
          "family.maiden": "Windsor"}),
        ('{ name @flatten @slice(path: "$index") { given @first @singleton family } }',
         {"given.0": "Peter", "family.0": ["Chalmers"], "given.1": "Jim", "given.2": "Peter", "family.2": ["Windsor"]}),
        ("{ __typename resourceType id contact { __typename gender } ... on Patient { active } ... on Observation { status } }",
         {"__typename": "Patient", "resourceType": "Patient", "id": "example", "active": True,
          "contact": [{"__typename": "PatientContact", "gender": "female"}]}),
        ("query A($no: Boolean = false) { id @include(if: $no) active @skip(if: $no) ...f } fragment f on Patient { birthDate }",
         {"active": True, "birthDate": "1974-12-25"}),
        ("{ name { given } name { family } }", {"name": [{k: n[k] for k in ("given", "family") if k in n} for n in PATIENT["name"]]}),
    ],
)  # fmt: skip
async def test_selecting_from_a_resource(example: httpx.AsyncClient, query: str, expected: Any) -> None:
    assert await ask(example, query, "Patient/example/") == expected


async def test_it_may_be_asked_by_get_and_post_in_every_usual_form(example: httpx.AsyncClient) -> None:
    query, expected = "query A($u: code) { name(use: $u) { given } }", {"data": {"name": [{"given": ["Jim"]}]}}
    url = "Patient/example/$graphql"
    answers = [
        await example.get(url, params={"query": query, "variables": json.dumps({"u": "usual"})}),
        await example.post(url, json={"query": query, "variables": {"u": "usual"}, "operationName": "A"}),
        await example.post(
            f"{url}?variables=" + json.dumps({"u": "usual"}), content=query, headers={"Content-Type": "application/graphql"}
        ),
        await example.post(
            url, json={"resourceType": "Parameters", "parameter": [{"name": "query", "valueString": "{ name(use: usual) { given } }"}]}
        ),
    ]
    assert [a.json() for a in answers] == [expected] * 4
    two = query + " query B { active }"
    assert (await example.post(url, json={"query": two, "operationName": "B"})).json() == {"data": {"active": True}}


async def test_numbers_keep_their_text(client: httpx.AsyncClient) -> None:
    body = '{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.500}}'
    await client.put("Observation/o", content=body, headers={"Content-Type": "application/json"})
    assert '"value":1.500' in (await client.get("Observation/o/$graphql?query={valueQuantity{value}}")).text


async def test_references_are_resolved(example: httpx.AsyncClient) -> None:
    contained = {"resourceType": "Practitioner", "id": "c", "active": True}
    more = {"contained": [contained], "performer": [{"reference": "#c"}, {"reference": "Practitioner/never"}]}
    await example.put("Observation/o", json=observation("Patient/example", id="o") | more)
    at = "Observation/o/"
    assert await ask(example, "{ subject { reference resource { ... on Patient { birthDate } ... on Group { quantity } } } }", at) == {
        "subject": {"reference": "Patient/example", "resource": {"birthDate": "1974-12-25"}}
    }
    assert await ask(example, "{ subject { resource(type: Patient) { birthDate } resource(type: Group) { quantity } } }", at) == {
        "subject": {"resource": {"birthDate": "1974-12-25"}}
    }
    assert await ask(example, "{ performer { resource(optional: true) { ... on Practitioner { active } } } }", at) == {
        "performer": [{"resource": {"active": True}}, {}]
    }
    assert "Practitioner/never" in await fails(example, "{ performer { resource { id } } }", at, status=404)
    assert await ask(example, "{ subject @flatten { resource @flatten { ... on Patient { born: birthDate } } } }", at) == {
        "born": "1974-12-25"
    }


async def test_one_resource_by_id(example: httpx.AsyncClient) -> None:
    assert await ask(example, "{ Patient(id: example) { id active } }") == {"Patient": {"id": "example", "active": True}}
    assert await ask(example, "query A($id: ID!) { a: Patient(id: $id) { id } b: Patient(id: $id) { active } }", id="example") == {
        "a": {"id": "example"}, "b": {"active": True},
    }  # fmt: skip
    await fails(example, "{ Patient(id: never) { id } }", status=404)
    await fails(example, '{ Patient(id: "not an id") { id } }', status=404)


async def people(client: httpx.AsyncClient, n: int = 5) -> None:
    entries = [
        entry("PUT", f"Patient/p{i}", patient(id=f"p{i}", gender="male" if i % 2 else "female", **identified(str(i)))) for i in range(n)
    ]
    await done(client, *entries, *[entry("PUT", f"Observation/o{i}", observation(f"Patient/p{i % 2}", id=f"o{i}")) for i in range(n)])


def ids(listed: list[dict[str, Any]]) -> list[str]:
    return sorted(r["id"] for r in listed)


async def test_lists(client: httpx.AsyncClient) -> None:
    await people(client)
    assert ids((await ask(client, "{ PatientList(gender: male) { id } }"))["PatientList"]) == ["p1", "p3"]
    assert ids((await ask(client, "{ PatientList(_id: [p1, p2]) { id } }"))["PatientList"]) == ["p1", "p2"]
    assert (await ask(client, '{ PatientList(name: "an,nguyen") { id } }')) == {"PatientList": []}  # a comma is a comma
    assert len((await ask(client, '{ PatientList(name: ["an", "x"]) { id } }'))["PatientList"]) == 5
    assert ids((await ask(client, '{ x: PatientList(identifier: "http://example.org/mrn|3") { id } }'))["x"]) == ["p3"]
    assert ids((await ask(client, '{ PatientList(_filter: "gender eq male and _id eq p1") { id } }'))["PatientList"]) == ["p1"]
    assert len((await ask(client, "{ PatientList(_count: 2, _offset: 2) { id } }"))["PatientList"]) == 2
    assert [r["id"] for r in (await ask(client, '{ PatientList(_sort: "-_id") { id } }'))["PatientList"]] == ["p4", "p3", "p2", "p1", "p0"]
    assert ids((await ask(client, "{ PatientList(fhirpath: \"gender = 'male'\") { id } }"))["PatientList"]) == ["p1", "p3"]
    assert (await ask(client, "{ DeviceList { id } }")) == {"DeviceList": []}
    assert "nonsense" in await fails(client, "{ PatientList(nonsense: 1) { id } }")


async def test_what_refers_to_a_resource(client: httpx.AsyncClient) -> None:
    await people(client)
    query = """{
      id
      ObservationList(_reference: patient) { id }
      ObservationConnection(_reference: subject, _count: 1) { count edges { resource { status } } }
    }"""
    found = await ask(client, query, "Patient/p1/")
    assert ids(found["ObservationList"]) == ["o1", "o3"]
    assert found["ObservationConnection"] == {"count": 2, "edges": [{"resource": {"status": "final"}}]}
    nested = await ask(
        client,
        '{ PatientList(_id: [p0, p1, p2], _sort: "_id") { id o: ObservationList(_reference: subject) { subject { resource { id } } } } }',
    )
    assert [len(p["o"]) for p in nested["PatientList"]] == [3, 2, 0]
    assert nested["PatientList"][1]["o"][0] == {"subject": {"resource": {"id": "p1"}}}
    await fails(client, "{ ObservationList { id } }", "Patient/p1/")
    await fails(client, '{ ObservationConnection(_reference: subject, _cursor: "x") { count } }', "Patient/p1/")


async def test_connections_are_walked_by_cursor(client: httpx.AsyncClient) -> None:
    await people(client)
    fields = "{ count offset pagesize first previous next edges { mode resource { id } } }"
    page = (await ask(client, "{ PatientConnection(_count: 2, _sort: _id) " + fields + " }"))["PatientConnection"]
    assert (page["count"], page["offset"], page["pagesize"]) == (5, 0, 2)
    assert page["edges"][0] == {"mode": "match", "resource": {"id": "p0"}}
    assert "previous" not in page
    seen, pages = [e["resource"]["id"] for e in page["edges"]], [page]
    while "next" in page:
        page = (await ask(client, "query A($c: ID) { PatientConnection(_cursor: $c) " + fields + " }", c=page["next"]))["PatientConnection"]
        assert page["offset"] == len(seen)
        seen += [e["resource"]["id"] for e in page["edges"]]
        pages.append(page)
    assert seen == ["p0", "p1", "p2", "p3", "p4"]
    back = (await ask(client, "query A($c: ID) { PatientConnection(_cursor: $c) " + fields + " }", c=page["previous"]))["PatientConnection"]
    assert back["edges"] == pages[-2]["edges"]
    first = (await ask(client, "query A($c: ID) { PatientConnection(_cursor: $c) " + fields + " }", c=page["first"]))["PatientConnection"]
    assert first["edges"] == pages[0]["edges"]
    await fails(client, '{ PatientConnection(_cursor: "made-up") { count } }')
    await fails(client, "query A($c: ID) { PatientConnection(_cursor: $c, gender: male) { count } }", c=pages[0]["next"])
    await fails(client, "query A($c: ID) { DeviceConnection(_cursor: $c) { count } }", c=pages[0]["next"])


async def test_mutations(client: httpx.AsyncClient) -> None:
    res = {k: v for k, v in patient().items() if k != "resourceType"}
    made = (await ask(client, "mutation A($r: JSON!) { PatientCreate(res: $r) { id name { family } } }", r=res))["PatientCreate"]
    assert made["name"] == [{"family": "Nguyễn"}]
    changed = await ask(
        client,
        "mutation A($i: ID!, $r: JSON!) { PatientUpdate(id: $i, res: $r) { active } }",
        i=made["id"],
        r=res | {"id": made["id"], "active": True},
    )
    assert changed == {"PatientUpdate": {"active": True}}
    assert await ask(client, "mutation A($i: ID!) { PatientDelete(id: $i) }", i=made["id"]) == {}
    assert (await client.get(f"Patient/{made['id']}")).status_code == 410
    await fails(client, "mutation A($r: JSON!) { PatientCreate(res: $r) { id } }", r={"birthDate": "never"})
    assert (await client.get("$graphql", params={"query": "mutation { PatientDelete(id: a) }"})).status_code == 405


@pytest.mark.parametrize(
    "query",
    [
        "",
        "{",
        "{ nope }",
        "{ name }",
        "{ active { x } }",
        "{ active(x: 1) }",
        "{ name(nope: 1) { family } }",
        "{ ...f }",
        "{ name { ...f } } fragment f on HumanName { ...f }",
        "{ id @nope }",
        "{ id @skip }",
        "{ id @skip(if: 1) }",
        "subscription { id }",
        "{ id } { active }",
        "{ a: id } fragment f on Patient { id } { b: id }",
        "{ ... on Nope { id } }",
        '{ name(fhirpath: "(((") { family } }',
        "{ name(_count: -1) { family } }",
        "query A($x: ID!) { id }",
        "{ name(use: $x) { family } }",
        "{ name @slice { family } }",
        "{ name @flatten { family @singleton } }",
        "{ __schema { types { name } } }",
        "{ identifier @flatten { x: system } name @flatten { x: family } }",
        "{" * 3000,
        "{ name { " * 30 + "family" + " }" * 31,
    ],
)  # fmt: skip
async def test_what_cannot_be_answered_is_refused(example: httpx.AsyncClient, query: str) -> None:
    assert await fails(example, query, "Patient/example/")


async def test_fragments_cannot_multiply_without_end(client: httpx.AsyncClient) -> None:
    spread = " ".join(f"fragment f{n} on Patient {{ ...f{n + 1} ...f{n + 1} }}" for n in range(40))
    assert "more than" in await fails(client, "{ Patient(id: a) { ...f0 } } " + spread + " fragment f40 on Patient { id }")


async def test_a_query_has_a_cost(client: httpx.AsyncClient) -> None:
    await people(client)
    many = " ".join(f"x{n}: PatientList {{ id o: ObservationList(_reference: subject) {{ id }} }}" for n in range(500))
    assert "costs" in await fails(client, "{ " + many + " }")


async def test_an_unknown_resource(client: httpx.AsyncClient) -> None:
    await fails(client, "{ id }", "Patient/never/", status=404)


async def test_the_schema_tells_itself(client: httpx.AsyncClient) -> None:
    found = await ask(client, '{ __type(name: "PatientContact") { kind fields { name type { kind name ofType { name } } } } }')
    fields = {f["name"]: f["type"] for f in found["__type"]["fields"]}
    assert fields["telecom"] == {"kind": "LIST", "name": None, "ofType": {"name": "ContactPoint"}}
    assert (await ask(client, '{ __type(name: "Nonsense") { name } }')) == {}
    schema = build_client_schema(await ask(client, get_introspection_query()))
    assert validate_schema(schema) == []
    query = """{
      PatientList(name: "x", general_practitioner: ["a"]) {
        id name { given } _birthDate { extension { url } }
        ObservationList(_reference: "subject") { subject { resource { id ... on Patient { birthDate } } } }
      }
      PatientConnection(_count: 5) { count edges { mode resource { id } } next }
    }"""
    assert validate(schema, parse(query)) == []
    assert await ask(client, query) == {"PatientList": [], "PatientConnection": {"count": 0, "edges": []}}
