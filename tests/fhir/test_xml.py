"""FHIR XML both ways: nothing lost, problems with their places, hostile documents refused (R4 xml.html)."""

import time
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_profiles import tables
from fhir_profiles.number import Number, number
from health_hub.fhir.json import dumps, loads
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.xml import from_xml, to_xml
from health_hub.fhir.xml.layout import children

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'


def fhir(name: str, inner: str) -> bytes:
    return f'<{name} xmlns="http://hl7.org/fhir">{inner}</{name}>'.encode()


def refused(data: bytes) -> tuple[Issue, ...]:
    with pytest.raises(FhirError) as raised:
        from_xml(data)
    assert raised.value.status == 400
    return raised.value.issues


def plain(value: Any) -> Any:
    """For comparing: a LosslessFloat is equal to itself only."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return bytes(value) if isinstance(value, Number) else value


def there_and_back(resource: dict[str, Any]) -> dict[str, Any]:
    compact = to_xml(resource)
    ElementTree.fromstring(compact)  # another reader takes it too
    again = from_xml(compact)
    assert plain(from_xml(to_xml(resource, pretty=True))) == plain(again)
    return again


PATIENT = rb"""{
  "resourceType": "Patient", "id": "p1", "meta": {"versionId": "3", "tag": [{"system": "http://a", "code": "b"}]},
  "text": {"status": "generated",
    "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>Nguy\u1ec5n &amp; <b>\u0110</b><br/>&#160;</p>\r\n <!-- kept --></div>"},
  "contained": [{"resourceType": "Organization", "id": "o1", "name": "A <B>"}, {"resourceType": "Basic", "id": "b"}],
  "extension": [{"id": "e", "url": "http://x", "valueDecimal": 1.00},
    {"url": "http://y", "extension": [{"url": "z", "valueBoolean": false}]}],
  "_language": {"extension": [{"url": "http://x", "valueCode": "vi"}]},
  "active": true,
  "name": [
    {"family": "Nguy\u1ec5n", "_family": {"id": "f"}, "given": ["V\u0103n", null, "An"],
      "_given": [null, {"extension": [{"url": "http://x", "valueInteger": -3}]}, {"id": "g"}]},
    {"_given": [{"id": "only"}], "text": " two  spaces\tand\nlines\r\n "}],
  "birthDate": "2000-02", "multipleBirthInteger": 0,
  "contact": [{"relationship": [{"text": "\"quoted\" 'and' more"}]}]
}"""


def test_a_patient_with_everything_odd_comes_back_equal() -> None:
    patient = loads(PATIENT)
    again = there_and_back(patient)
    assert plain(again) == plain(patient)
    assert dumps(again["extension"]) == dumps(patient["extension"])  # 1.00 kept its zeros


def test_how_it_is_written() -> None:
    patient = {
        "resourceType": "Patient",
        "gender": "male",
        "id": "1",
        "_birthDate": {"id": "b"},
        "birthDate": "2000",
        "extension": [{"valueDecimal": number("1.50"), "url": "u"}],
    }
    assert to_xml(patient).decode() == (
        f'{HEAD}<Patient xmlns="http://hl7.org/fhir"><id value="1"/><extension url="u"><valueDecimal value="1.50"/></extension>'
        '<gender value="male"/><birthDate id="b" value="2000"/></Patient>'
    )
    assert to_xml({"resourceType": "Basic", "code": {"text": "a"}}, pretty=True).decode() == (
        f'{HEAD}\n<Basic xmlns="http://hl7.org/fhir">\n  <code>\n    <text value="a"/>\n  </code>\n</Basic>\n'
    )
    assert to_xml({"resourceType": "Patient"}).decode() == f'{HEAD}<Patient xmlns="http://hl7.org/fhir"/>'


def test_resources_in_resources() -> None:
    bundle = loads(
        b'{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"Parameters","parameter":[{"name":"r","resource":'
        b'{"resourceType":"Patient","active":false}},{"name":"p","part":[{"name":"q","valueDecimal":1e3}]}]},"request":{"method":"POST","url":"X"}},{"fullUrl":"urn:x"}]}'
    )
    assert plain(there_and_back(bundle)) == plain(bundle)


@pytest.mark.parametrize("text", ["0", "1", "-1", "1.0", "1.00", "0.10", "-0.0", "1e3", "1.50E-10", "123456789012345678.123456789"])
def test_decimals_keep_their_text(text: str) -> None:
    data = fhir("Observation", f'<valueQuantity><value value="{text}"/></valueQuantity>')
    value = from_xml(data)["valueQuantity"]["value"]
    assert dumps(value).decode() == text
    assert data in to_xml(from_xml(data))


def test_json_types_by_definition() -> None:
    found = from_xml(
        fhir(
            "Patient",
            '<active value=" true "/><multipleBirthInteger value="+2"/><birthDate value="2000"/><photo><size value="5"/></photo>',
        )
    )
    assert found == {
        "resourceType": "Patient",
        "active": True,
        "multipleBirthInteger": 2,
        "birthDate": "2000",
        "photo": [{"size": 5}],
    }


def test_comments_instructions_prefixes_and_order_do_not_matter() -> None:
    data = b"""\xef\xbb\xbf<?xml version='1.0' encoding='utf-8'?><!-- a --><?x y?>
      <f:Patient xmlns:f="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml"><f:gender value="male"/><!-- c -->
        <f:text><f:status value="generated"/><h:div id="x"><h:p>a &lt; <h:br/>b</h:p></h:div></f:text>
        <f:name><f:given value="A"/></f:name><?pi?><f:active value="true"></f:active><f:name><f:given value="B"/></f:name></f:Patient>"""
    assert from_xml(data) == {
        "resourceType": "Patient",
        "gender": "male",
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml" id="x"><p>a &lt; <br/>b</p></div>'},
        "name": [{"given": ["A"]}, {"given": ["B"]}],
        "active": True,
    }


@pytest.mark.parametrize(
    "div",
    [
        '<div xmlns="http://www.w3.org/1999/xhtml"/>',
        '<div title="a > b" xmlns="http://www.w3.org/1999/xhtml" class=\'/>\'/>',
        "<div xmlns='http://www.w3.org/1999/xhtml'>a</div >",
        '<div\n xmlns="http://www.w3.org/1999/xhtml">\r\n<!-- </div> --> <![CDATA[<x>&]]> <p title="&#10;&quot;">x</p>Đường</div>',
        '<div xmlns="http://www.w3.org/1999/xhtml" xml:lang="vi">see x:y = 1 <!-- a:b --></div>',
    ],
)
def test_xhtml_is_kept_as_written(div: str) -> None:
    found = from_xml(fhir("Basic", f"<text><status value='empty'/>{div}</text>"))["text"]["div"]
    assert found == div
    assert there_and_back({"resourceType": "Basic", "text": {"status": "empty", "div": found}})["text"]["div"] == found


def test_xhtml_of_careless_json_is_made_fit() -> None:
    for careful in (
        "<div>a&nbsp;b</div>",
        ' <div xmlns="http://www.w3.org/1999/xhtml">a&nbsp;b</div> ',
        "<?xml version='1.0'?><div>a&nbsp;b</div>",
    ):
        found = from_xml(to_xml({"resourceType": "Basic", "text": {"status": "empty", "div": careful}}))
        assert found["text"]["div"] == '<div xmlns="http://www.w3.org/1999/xhtml">a\u00a0b</div>'
    careless: list[Any] = [
        "<div>",
        "<p>a</p>",
        "text",
        "",
        "<div/><div/>",
        '<div xmlns="http://hl7.org/fhir"/>',
        "<div></div></text></Basic>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><div>&b;</div>",
        "<div>" * 300 + "</div>" * 300,
        5,
    ]
    for div in careless:
        with pytest.raises(FhirError) as raised:
            to_xml({"resourceType": "Basic", "text": {"status": "empty", "div": div}})
        assert raised.value.issues[0].expression == ("Basic.text.div",)


PROBLEMS = [
    ("<nonsense/>", "/f:Patient/f:nonsense", "Patient.nonsense"),
    ('<name><given value="a"/></name><name><middle value="b"/></name>', "/f:Patient/f:name[2]/f:middle", "Patient.name[1].middle"),
    ('<name><given value="a"/><given value=""/></name>', "/f:Patient/f:name[1]/f:given[2]", "Patient.name[0].given[1]"),
    ('<active value="yes"/>', "/f:Patient/f:active", "Patient.active"),
    ('<multipleBirthInteger value="1.0"/>', "f:multipleBirthInteger", "Patient.multipleBirthInteger"),
    ('<gender value="male"/><gender value="female"/>', "/f:Patient/f:gender", "Patient.gender"),
    ("<maritalStatus/>", "/f:Patient/f:maritalStatus", "Patient.maritalStatus"),
    ("<name><given/></name>", "/f:Patient/f:name[1]/f:given[1]", "Patient.name[0].given[0]"),
    ('<gender value="male" code="x"/>', "/f:Patient/f:gender", "Patient.gender"),
    ('<gender xmlns:x="http://x" value="male" x:value="y"/>', "http://x", "Patient.gender"),
    ('<name use="official"><text value="a"/></name>', "use", "Patient.name[0]"),
    ('<x:y xmlns:x="http://x"/>', "http://x", "Patient.y"),
    ("<name>text</name>", "'text'", "Patient.name[0]"),
    ('<gender value="male"><x/></gender>', "/f:Patient/f:gender/f:x", "Patient.gender.x"),
    ("<contained/>", "/f:Patient/f:contained[1]", "Patient.contained[0]"),
    ("<contained><Basic/><Basic/></contained>", "more than one", "Patient.contained[0].Basic"),
    ("<contained><Nope/></contained>", "one resource", "Patient.contained[0].Nope"),
    (
        "<contained><Basic><subject><no/></subject></Basic></contained>",
        "f:contained[1]/f:Basic/f:subject/f:no",
        "Patient.contained[0].subject.no",
    ),
    ('<text><status value="empty"/><div>x</div></text>', "/f:Patient/f:text/f:div", "Patient.text.div"),
    (
        '<birthDate><extension url="u"><valueDecimal value="1."/></extension></birthDate>',
        "f:valueDecimal",
        "Patient.birthDate.extension[0].valueDecimal",
    ),
    ('<extension url=""><valueCode value="a"/></extension>', "url is empty", "Patient.extension[0]"),
]


@pytest.mark.parametrize(("inner", "said", "expression"), PROBLEMS)
def test_a_problem_is_named_by_xpath_and_fhirpath(inner: str, said: str, expression: str) -> None:
    issue = refused(fhir("Patient", inner))[0]
    assert said in issue.diagnostics
    assert "line 1 column" in issue.diagnostics
    assert issue.expression == (expression,)


def test_every_problem_is_named_but_no_more_than_a_hundred() -> None:
    assert len(refused(fhir("Patient", '<a><b/></a><active value="x"/><gender/><name/>'))) == 4
    assert len(refused(fhir("Patient", "<a/>" * 5000))) == 100


def test_attributes_on_the_resource_are_not_fhir() -> None:
    data = b'<Patient xmlns="http://hl7.org/fhir" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="a b" id="x"/>'
    assert len(refused(data)) == 2


LAUGHS = b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><Patient><id value="&b;"/></Patient>'
HOSTILE = {
    "entities": LAUGHS,
    "external entity": b'<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><Patient><id value="&x;"/></Patient>',
    "external dtd": b'<!DOCTYPE Patient SYSTEM "http://127.0.0.1/x.dtd"><Patient xmlns="http://hl7.org/fhir"/>',
    "parameter entity": b'<!DOCTYPE p [<!ENTITY % x SYSTEM "http://127.0.0.1/x"> %x;]><Patient xmlns="http://hl7.org/fhir"/>',
    "undeclared entity": fhir("Patient", '<gender value="&nbsp;"/>'),
    "undeclared prefix": fhir("Patient", "<x:y/>"),
    "depth of elements": fhir("Basic", "<extension>" * 10_000),
    "depth of extensions": fhir("Basic", '<extension url="a">' * 300 + "</extension>" * 300),
    "depth of contained": fhir("Basic", "<contained><Basic>" * 150),
    "depth of nonsense": fhir("Basic", "<x>" * 10_000),
    "depth of xhtml": fhir("Basic", '<text><div xmlns="http://www.w3.org/1999/xhtml">' + "<b>" * 10_000),
    "utf-16": '<?xml version="1.0" encoding="UTF-16"?><Patient xmlns="http://hl7.org/fhir"/>'.encode("utf-16"),
    "utf-16 without mark": '<?xml version="1.0"?><Patient xmlns="http://hl7.org/fhir"/>'.encode("utf-16-le"),
    "latin 1": '<?xml version="1.0" encoding="ISO-8859-1"?><Patient xmlns="http://hl7.org/fhir"><id value="é"/></Patient>'.encode(
        "latin-1"
    ),
    "declared latin 1": b'<?xml version="1.0" encoding="ISO-8859-1"?><Patient xmlns="http://hl7.org/fhir"/>',
    "utf-7": b'<?xml version="1.0" encoding="UTF-7"?><Patient xmlns="http://hl7.org/fhir"/>',
    "wrong utf-8": b'<Patient xmlns="http://hl7.org/fhir"><gender value="\xff"/></Patient>',
    "surrogate": b'<Patient xmlns="http://hl7.org/fhir"><gender value="\xed\xa0\x80"/></Patient>',
    "nul": fhir("Patient", '<gender value="\0"/>'),
    "nul reference": fhir("Patient", '<gender value="&#0;"/>'),
    "control character": fhir("Patient", '<gender value="&#1;"/>'),
    "cut": fhir("Patient", '<gender value="male"/>')[:-5],
    "two roots": fhir("Patient", "") + fhir("Patient", ""),
    "empty": b"",
    "no xml": b"hello",
    "json": b'{"resourceType":"Patient"}',
    "no namespace": b"<Patient/>",
    "other namespace": b'<Patient xmlns="urn:hl7-org:v3"/>',
    "no resource": fhir("HumanName", ""),
    "abstract resource": fhir("DomainResource", ""),
    "twice the same attribute": fhir("Patient", '<gender value="male" value="male"/>'),
    "xinclude": fhir("Patient", '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd"/>'),
    "many digits": fhir("Patient", f'<multipleBirthInteger value="{"9" * 100_000}"/>'),
    "many decimals": fhir("Observation", f'<valueQuantity><value value="0.{"9" * 100_000}"/></valueQuantity>'),
    "many attributes": fhir("Patient", "<name " + " ".join(f'a{i}="b"' for i in range(20_000)) + "/>"),
    "foreign xhtml": fhir("Basic", '<text><h:div xmlns:h="http://www.w3.org/1999/xhtml"><s:x xmlns:s="urn:s"/></h:div></text>'),
}


@pytest.mark.parametrize("case", sorted(HOSTILE))
def test_hostile_xml_is_refused_soon(case: str) -> None:
    start = time.process_time()
    issues = refused(HOSTILE[case])
    assert time.process_time() - start < 30
    assert all(len(i.diagnostics) < 1000 for i in issues)
    assert "passwd" not in "".join(i.diagnostics for i in issues if "include" not in case)


@pytest.mark.parametrize(
    ("resource", "expression"),
    [
        ({"resourceType": "Patient", "nonsense": 1}, "Patient.nonsense"),
        ({"resourceType": "Patient", "name": {"text": "a"}}, "Patient.name"),
        ({"resourceType": "Patient", "name": [{"text": "a"}, {"given": ["a", None]}]}, "Patient.name[1].given[1]"),
        ({"resourceType": "Patient", "name": [{"text": "a\x01"}]}, "Patient.name[0].text"),
        ({"resourceType": "Patient", "name": [{"text": "\ud800"}]}, "Patient.name[0].text"),
        ({"resourceType": "Patient", "gender": ""}, "Patient.gender"),
        ({"resourceType": "Patient", "gender": ["a"]}, "Patient.gender"),
        ({"resourceType": "Patient", "_gender": {}}, "Patient.gender"),
        ({"resourceType": "Patient", "contained": [{"resourceType": "Nope"}]}, "Patient.contained[0]"),
        ({"resourceType": "Patient", "contained": [{"resourceType": "Basic", "x": 1}]}, "Patient.contained[0].x"),
        ({"resourceType": "Patient", "maritalStatus": {}}, "Patient.maritalStatus"),
    ],
)
def test_what_xml_cannot_say_is_refused_with_its_place(resource: dict[str, Any], expression: str) -> None:
    with pytest.raises(FhirError) as raised:
        to_xml(resource)
    assert raised.value.status == 422
    assert raised.value.issues[0].expression == (expression,)


# --- any resource of any type -------------------------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8", exclude_characters="\ufffe\uffff", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)
spaced = st.text(st.sampled_from("aé \t\r\n\"'<&>đ\U0001f600"), min_size=1, max_size=8)
trimmed = texts.map(lambda t: t.strip(" ") or "x")
values: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False, places=3).map(lambda d: number(f"{d:f}")),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "unsignedInt": st.integers(0, 2**31 - 1),
    "positiveInt": st.integers(1, 2**31 - 1),
    "string": spaced,
    "markdown": spaced,
}
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">x &amp; y</div>'


@st.composite
def content(draw: st.DrawFn, type_name: str, depth: int = 0) -> dict[str, Any]:
    """A few elements of a type in any order, right in shape though seldom in sense."""
    known = children(type_name)
    names = [n for n, c in known.items() if not (depth > 3 and c.kind in ("complex", "resource")) and not c.extra]
    made: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True)):
        child = known[name]
        repeats = draw(st.integers(1, 3)) if child.array else 1
        items: list[Any] = []
        extras: list[Any] = []
        for _ in range(repeats):
            if child.kind == "complex":
                items.append(draw(content(child.type, depth + 1)))
            elif child.kind == "resource":
                items.append(draw(resources(depth + 2)))
            elif child.kind == "xhtml":
                items.append(DIV)
            elif child.kind == "attribute":
                items.append(draw(spaced))
            else:
                items.append(draw(values.get(child.type, trimmed)))
                extra = draw(st.sampled_from([None, None, None, {"id": "a"}, {"extension": [{"url": "u", "valueInteger": 5}]}]))
                extras.append(extra)
                if extra is not None and draw(st.booleans()):
                    items[-1] = None
        if any(i is not None for i in items):
            made[name] = items if child.array else items[0]
        if any(e is not None for e in extras):
            made["_" + name] = extras if child.array else extras[0]
    return made


@st.composite
def resources(draw: st.DrawFn, depth: int = 0) -> dict[str, Any]:
    name = draw(st.sampled_from(tables.RESOURCE_TYPES))
    return {"resourceType": name, **draw(content(name, depth))}


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(resources())
def test_any_resource_of_any_type_comes_back_equal(resource: dict[str, Any]) -> None:
    assert plain(there_and_back(resource)) == plain(resource)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_resource_or_a_400(data: bytes) -> None:
    refused(data)


PIECES = ["name", "text", "contained", "Basic", "extension url='a'", 'active value="true"', 'div xmlns="http://www.w3.org/1999/xhtml"']
TAGS = [f"<{p}>" for p in PIECES] + [f"</{p.split()[0]}>" for p in PIECES] + ["x", "<!-- -->", '<given value="a"/>', "<div/>"]


@given(st.lists(st.sampled_from(TAGS), max_size=12))
def test_any_pile_of_tags_gives_a_resource_or_a_400(pieces: list[str]) -> None:
    try:
        from_xml(fhir("Patient", "".join(pieces)))
    except FhirError as e:
        status = e.status
    else:
        status = 400
    assert status == 400


def test_a_bundle_of_a_hundred_entries_comes_back_whole() -> None:
    category = "http://terminology.hl7.org/CodeSystem/observation-category"
    observation = {
        "resourceType": "Observation",
        "id": "a",
        "meta": {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00Z"},
        "status": "final",
        "category": [{"coding": [{"system": category, "code": "vital-signs", "display": "x"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}], "text": "Heart rate"},
        "subject": {"reference": "Patient/1"},
        "encounter": {"reference": "Encounter/1"},
        "effectiveDateTime": "2026-01-01",
        "issued": "2026-01-01T00:00:00Z",
        "valueQuantity": {"value": Number(b"72.0"), "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
    }
    bundle = {
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": [{"fullUrl": f"urn:{i}", "resource": observation} for i in range(100)],
    }
    assert to_xml(from_xml(to_xml(bundle))) == to_xml(bundle)
