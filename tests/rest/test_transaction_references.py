"""References and links of a transaction follow what it creates (R4 http.html#trules, bundle.html#references)."""

import httpx
import pytest

from tests.rest.bundles import (
    A,
    B,
    done,
    entry,
    expressions,
    identified,
    json_patch,
    name_of,
    observation,
    patient,
    read,
    refused,
    statuses,
)

MISSING = "urn:uuid:99999999-9999-4999-8999-999999999999"


async def test_urns_are_followed_everywhere(client: httpx.AsyncClient) -> None:
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{A}">{A}</a><img src="{B}" alt="x"/></div>',
        },
        "contained": [{"resourceType": "Observation", "id": "c", "status": "final", "code": {"text": "x"}, "subject": {"reference": A}}],
        "extension": [
            {"url": "http://example.org/e", "valueReference": {"reference": A}},
            {"url": "http://example.org/e", "valueUri": A},
            {"url": "http://example.org/e", "valueString": A},
        ],
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": A},
        "subject": {"reference": A},
        "relatesTo": [{"code": "appends", "target": {"reference": "urn:uuid:33333333-3333-4333-8333-333333333333"}}],
        "content": [{"attachment": {"contentType": "text/plain", "url": B}}],
        "context": {"related": [{"reference": "#c"}]},
    }
    found = await done(
        client,
        entry("POST", "DocumentReference", document, "urn:uuid:33333333-3333-4333-8333-333333333333"),
        entry("POST", "Patient", patient(), A),
        entry("POST", "Binary", {"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="}, B),
    )
    own, person, binary = map(name_of, found)
    stored = await read(client, own)
    assert stored["subject"]["reference"] == person
    assert stored["contained"][0]["subject"]["reference"] == person
    assert [next(v for k, v in e.items() if k != "url") for e in stored["extension"]] == [{"reference": person}, person, A]
    assert stored["masterIdentifier"]["value"] == A
    assert stored["relatesTo"][0]["target"]["reference"] == own
    assert stored["content"][0]["attachment"]["url"] == binary
    assert stored["text"]["div"] == (
        f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{person}">{A}</a><img src="{binary}" alt="x"/></div>'
    )


async def test_circles_are_followed(client: httpx.AsyncClient) -> None:
    found = await done(
        client,
        entry("POST", "Patient", patient(link=[{"other": {"reference": B}, "type": "seealso"}]), A),
        entry("POST", "Patient", patient(link=[{"other": {"reference": A}, "type": "seealso"}]), B),
    )
    one, other = map(name_of, found)
    assert (await read(client, one))["link"][0]["other"]["reference"] == other
    assert (await read(client, other))["link"][0]["other"]["reference"] == one


async def test_full_urls_and_what_is_relative_to_them(client: httpx.AsyncClient) -> None:
    found = await done(
        client,
        entry("POST", "Patient", patient(), "http://one.example/fhir/Patient/1"),
        entry("POST", "Patient", patient(), "http://two.example/fhir/Patient/1"),
        entry("POST", "Observation", observation("Patient/1"), "http://one.example/fhir/Observation/1"),
        entry("POST", "Observation", observation("Patient/1"), "http://two.example/fhir/Observation/1"),
        entry("POST", "Observation", observation("http://two.example/fhir/Patient/1"), "http://one.example/fhir/Observation/2"),
        entry("POST", "Observation", observation("Patient/1"), A),
        entry("POST", "Observation", observation("http://three.example/fhir/Patient/1"), B),
    )
    one, two = name_of(found[0]), name_of(found[1])
    subjects = [(await read(client, name_of(e)))["subject"]["reference"] for e in found[2:]]
    # A urn has no root that a relative reference could be read against: it means the server's own Patient/1.
    assert subjects == [one, two, two, "Patient/1", "http://three.example/fhir/Patient/1"]


async def test_an_entry_without_full_url_goes_by_the_id_it_claims(client: httpx.AsyncClient) -> None:
    found = await done(client, entry("POST", "Patient", patient(id="p")), entry("POST", "Observation", observation("Patient/p")))
    assert (await read(client, name_of(found[1])))["subject"]["reference"] == name_of(found[0])


async def test_fragments_and_versions_stay_behind_the_new_name(client: httpx.AsyncClient) -> None:
    await client.put("Patient/old", json=patient(id="old"))
    found = await done(
        client,
        entry("POST", "Patient", patient(), A),
        entry("PUT", "Patient/old", patient(id="old", active=True), B),
        entry("POST", "Observation", observation(f"{A}#x")),
        entry("POST", "Observation", observation(f"{A}/_history/7")),
        entry("POST", "Observation", observation(f"{B}/_history/7#x")),
    )
    subjects = [(await read(client, name_of(e)))["subject"]["reference"] for e in found[2:]]
    assert subjects == [f"{name_of(found[0])}#x", f"{name_of(found[0])}/_history/1", "Patient/old/_history/2#x"]


async def test_what_names_nothing_in_the_bundle_is_left_alone(client: httpx.AsyncClient) -> None:
    sent = {
        "subject": {"reference": "Patient/elsewhere"},
        "performer": [{"reference": "http://x.example/fhir/Practitioner/1"}],
        "hasMember": [{"display": "x"}],
    }
    found = await done(client, entry("POST", "Observation", observation() | sent, A))
    stored = await read(client, name_of(found[0]))
    assert {k: stored[k] for k in sent} == sent


@pytest.mark.parametrize("reference", [MISSING, f"{MISSING}#x", "urn:oid:1.2.3.4"])
async def test_a_urn_that_names_nothing_is_refused_with_its_place(client: httpx.AsyncClient, reference: str) -> None:
    issues = await refused(
        client,
        entry("POST", "Patient", patient(), A),
        entry("POST", "Observation", observation(A, hasMember=[{"reference": A}, {"reference": reference}])),
    )
    assert "Bundle.entry[1].resource.hasMember[1].reference" in expressions(issues)
    assert reference in issues[0]["diagnostics"]


async def test_what_is_deleted_is_no_target(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a"))
    issues = await refused(client, entry("DELETE", "Patient/a", None, A), entry("POST", "Observation", observation(A)))
    assert expressions(issues) == ["Bundle.entry[1].resource.subject.reference"]


async def test_a_target_of_the_wrong_type_is_refused(client: httpx.AsyncClient) -> None:
    issues = await refused(
        client,
        entry("POST", "Practitioner", {"resourceType": "Practitioner"}, A),
        entry("POST", "Observation", observation(A)),
    )
    assert expressions(issues)[0].startswith("Bundle.entry[1].resource.subject")


# --- conditional references


async def test_conditional_references(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a", **identified("1")))
    found = await done(
        client,
        entry("POST", "Observation", observation("Patient?identifier=http://example.org/mrn|1")),
        entry("POST", "Observation", observation("Patient?identifier=http://example.org/mrn%7C1#x")),
        entry("POST", "Observation", observation("Patient?_id=a")),
    )
    subjects = [(await read(client, name_of(e)))["subject"]["reference"] for e in found]
    assert subjects == ["Patient/a", "Patient/a#x", "Patient/a"]


async def test_conditional_references_see_what_the_transaction_writes(client: httpx.AsyncClient) -> None:
    await client.put("Patient/gone", json=patient(id="gone", **identified("1")))
    await client.put("Patient/moved", json=patient(id="moved", **identified("2")))
    found = await done(
        client,
        entry("POST", "Observation", observation("Patient?identifier=http://example.org/mrn|1")),
        entry("POST", "Observation", observation("Patient?identifier=2")),
        entry("POST", "Patient", patient(**identified("1"))),
        entry("DELETE", "Patient/gone"),
        entry("PUT", "Patient/moved", patient(id="moved", **identified("3"))),
        entry("PUT", "Patient/arrived", patient(id="arrived", **identified("2"))),
        entry("POST", "Observation", observation("Patient?identifier=3")),
    )
    subjects = [(await read(client, name_of(found[i])))["subject"]["reference"] for i in (0, 1, 6)]
    assert subjects == [name_of(found[2]), "Patient/arrived", "Patient/moved"]


async def test_conditional_references_see_what_is_patched(client: httpx.AsyncClient) -> None:
    await client.put("Patient/a", json=patient(id="a", **identified("1")))
    await client.put("Patient/b", json=patient(id="b", **identified("2")))
    move = json_patch({"op": "replace", "path": "/identifier/0/value", "value": "3"})
    stay = json_patch({"op": "add", "path": "/active", "value": True})
    found = await done(
        client,
        entry("PATCH", "Patient/a", move),
        entry("PATCH", "Patient/b", stay),
        entry("POST", "Observation", observation("Patient?identifier=3")),
        entry("POST", "Observation", observation("Patient?identifier=2")),
    )
    assert [(await read(client, name_of(e)))["subject"]["reference"] for e in found[2:]] == ["Patient/a", "Patient/b"]
    await refused(client, entry("PATCH", "Patient/a", stay), entry("POST", "Observation", observation("Patient?identifier=1")))


async def test_a_conditional_reference_needs_exactly_one_match(client: httpx.AsyncClient) -> None:
    issues = await refused(client, entry("POST", "Observation", observation("Patient?identifier=1")))
    assert issues[0]["code"] == "not-found"
    assert expressions(issues) == ["Bundle.entry[0].resource.subject.reference"]
    for _ in range(2):
        await client.post("Patient", json=patient(**identified("1")))
    issues = await refused(client, entry("POST", "Observation", observation("Patient?identifier=1")), status=412)
    assert issues[0]["code"] == "multiple-matches"
    issues = await refused(client, entry("POST", "Observation", observation("Patient?nonsense=1")))
    assert expressions(issues) == ["Bundle.entry[0].resource.subject.reference"]


async def test_many_conditional_references_at_once(client: httpx.AsyncClient) -> None:
    made = await done(client, *[entry("PUT", f"Patient/p{n}", patient(id=f"p{n}", **identified(str(n)))) for n in range(120)])
    assert set(statuses(made)) == {"201"}
    found = await done(
        client, *[entry("POST", "Observation", observation(f"Patient?identifier=http://example.org/mrn|{n}")) for n in range(120)]
    )
    for n in (0, 63, 119):
        assert (await read(client, name_of(found[n])))["subject"]["reference"] == f"Patient/p{n}"
