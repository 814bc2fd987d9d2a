"""Patches, expressions and queries in languages of their own: JSON Patch, FHIRPath, GraphQL, SearchParameter."""

import json
from typing import Any

import pytest

from tests.hostile import wire
from tests.hostile.server import Attacked

JSON_PATCH = [("Content-Type", "application/json-patch+json")]


def op(op: str, path: Any, **more: Any) -> dict[str, Any]:
    return {"op": op, "path": path, **more}


JSON_PATCHES: dict[str, Any] = {
    "no list": {"op": "add"},
    "no operations of any kind": [1, None, "a", []],
    "an unknown operation": [op("explode", "/name")],
    "no path": [{"op": "add", "value": 1}],
    "a number for a path": [op("add", 1, value=1)],
    "a path without a slash": [op("add", "name", value=1)],
    "a bad escape": [op("add", "/~2", value=1)],
    "a long path": [op("add", "/a" * 10_000, value=1)],
    "a path of a megabyte": [op("add", "/" + "a" * (1 << 20), value=1)],
    "an index beyond": [op("add", "/name/9999999999", value={})],
    "an index below": [op("remove", "/name/-1")],
    "an index in words": [op("remove", "/name/first")],
    "the end": [op("remove", "/name/-")],
    "the document": [op("remove", "")],
    "another document": [op("replace", "", value=[])],
    "another id": [op("replace", "/id", value="x")],
    "another type": [op("replace", "/resourceType", value="Group")],
    "a move into itself": [op("add", "/name", value=[{"family": "a"}]), op("move", "/name/0/given", **{"from": "/name"})],
    "a bomb": [
        op("add", "/extension", value=[{"url": "http://x.vn", "valueString": "a" * 1000}]),
        *[op("copy", "/contained", **{"from": ""})] * 1,
        *[op("copy", f"/contained/{'contained/' * i}x", **{"from": ""}) for i in range(50)],
    ],
    "doubling": [op("add", "/x", value=["lol" * 10]), *[op("copy", "/x/-", **{"from": "/x"}) for _ in range(60)]],
    "doubling of objects": [op("add", "/x", value={"a": "lol" * 10}), *[op("copy", f"/x/a{i}", **{"from": "/x"}) for i in range(60)]],
    "ten thousand and one operations": [op("test", "/id", value="an")] * 10_001,
    "a hundred thousand operations": [op("test", "/id", value="an")] * 100_000,
    "ten thousand insertions": [
        op("add", "/name/0", value={"family": "a"}),
        *[op("add", "/name/0", value={"family": "a"})] * 9000,
        op("add", "/nonsense", value=1),
    ],
    "__proto__": [op("add", "/__proto__/x", value=1)],
    "a test of depth": [op("test", "/name", value=json.loads("[" * 150 + "]" * 150))],
    "what is no FHIR": [op("add", "/nonsense", value=1)],
    "ten thousand moves": [op("move", "/name", **{"from": "/name"})] * 10_000 + [op("remove", "/id")],
}


@pytest.mark.parametrize("name", sorted(JSON_PATCHES))
def test_json_patches(hub: Attacked, name: str) -> None:
    body = json.dumps(JSON_PATCHES[name]).encode()
    hub.call("PATCH", "Patient/an", body, JSON_PATCH).refused(400, 422)
    hub.call("PATCH", "Patient?birthdate=1980-02-29", body, JSON_PATCH).refused(400, 412, 422)


EXPRESSIONS: dict[str, str] = {
    "nothing": "",
    "a bracket": "(",
    "ten thousand brackets": "(" * 10_000 + ")" * 10_000,
    "ten thousand signs": "-" * 10_000 + "1",
    "ten thousand steps": "Patient" + ".name" * 10_000,
    "ten thousand unions": "|".join(["Patient.name"] * 10_000),
    "ten thousand ands": " and ".join(["true"] * 5000),
    "an endless repeat": "Patient.repeat($this)",
    "a repeat of everything": "Patient.repeat(children().repeat(children()))",
    "descendants of descendants": "Patient" + ".descendants()" * 50,
    "an aggregate": "Patient.descendants().aggregate($total & $this.toString() & $total)",
    "doubling": "Patient.name" + ".select($this | $this)" * 60,
    "doubling by combine": "Patient.name" + ".combine(Patient.name)" * 60,
    "doubling by select": "(1|2|3|4|5|6|7|8|9|10)" + ".select((1|2|3|4|5|6|7|8|9|10).combine($this))" * 12,
    "a doubled string": "Patient.birthDate.toString()" + ".select($this & $this)" * 60,
    "an evil pattern": "('a' & 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!').matches('^(a+)+$')",
    "another evil pattern": "'" + "a" * 5000 + "!'.matches('(a|aa)+b')",
    "a pattern with a look behind": "'a'.matches('(?<=a)b')",
    "a pattern's count": "'a'.matches('((a{1000}){1000}){1000}')",
    "an evil replacement": "'" + "a" * 1000 + "'.replaceMatches('a*', '" + "b" * 1000 + "')",
    "a replacement of nothing": "'" + "a" * 5000 + "'.replace('', '" + "b" * 5000 + "')",
    "powers": "9999999999.power(9999999999)",
    "powers of powers": "9.power(9).power(9).power(9).power(9)",
    "a long number": "9" * 10_000 + " * " + "9" * 9000,
    "a large exponent": "10.exp().exp().exp().exp()",
    "by nothing": "1 / 0",
    "a date beyond": "@9999-12-31 + 9999999999 years",
    "a date before": "@0001-01-01 - 9999999999 days",
    "resolve": "Patient.link.other.resolve()",
    "resolve outside": "'http://127.0.0.1:9/Patient/1'.resolve()",
    "memberOf": "Patient.gender.memberOf('http://127.0.0.1:9/vs')",
    "conformsTo": "Patient.conformsTo('file:///etc/passwd')",
    "trace": "Patient.trace('x')",
    "an environment variable": "%HOME",
    "an unknown one": "%`__class__`",
    "an attribute": "Patient.__class__.__mro__",
    "an import": "__import__('os').system('id')",
    "a quote": "Patient.name.where(family = '')) or __import__('os') #'",
    "a cut string": "'abc",
    "a cut comment": "/* ",
    "a NUL": "Patient.\x00name",
    "Unicode": "Patient.ｎame",
    "indexes": "Patient.name" + "[0]" * 5000,
    "an index beyond": "Patient.name[99999999999999999999]",
    "iif": "iif(" * 3000 + "true,1,2" + ",1)" * 3000,
    "where in where": "Patient.name.where(" * 2000 + "true" + ")" * 2000,
    "a lambda bomb": "Patient.descendants().where(" * 12 + "true" + ")" * 12,
    "all of all": "Patient.descendants().all(" * 4 + "Patient.descendants().exists()" + ")" * 4,
}


def _parameters(expression: str, kind: str = "delete", **more: Any) -> bytes:
    parts = [
        {"name": "type", "valueCode": kind},
        {"name": "path", "valueString": expression or " "},
        *({"name": k, "valueString": v} for k, v in more.items()),
    ]
    return json.dumps({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}).encode()


@pytest.mark.parametrize("name", sorted(EXPRESSIONS))
def test_fhirpath_patches(hub: Attacked, name: str) -> None:
    for kind in ("replace", "insert", "add", "move"):
        hub.call("PATCH", "Patient/an", _parameters(EXPRESSIONS[name], kind, name="nonsense", value="x")).refused(400, 422)
    # Deleting nothing, or what is there, is no error (R4 fhirpatch.html).
    assert hub.call(
        "PUT", "Patient/scratch", b'{"resourceType":"Patient","id":"scratch","name":[{"family":"a"}],"active":true}'
    ).status in (200, 201)
    answer = hub.call("PATCH", "Patient/scratch", _parameters(EXPRESSIONS[name]))
    assert answer.status == 200 or answer.refused(400, 422)


def test_fhirpath_patch_bombs(hub: Attacked) -> None:
    def operations(*parts: list[dict[str, Any]]) -> bytes:
        return json.dumps({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": p} for p in parts]}).encode()

    delete = [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": "Patient.nonsense"}]
    hub.call("PATCH", "Patient/an", operations(*[delete] * 20_000)).refused(400, 422)
    hub.call("PATCH", "Patient/an", operations([])).refused(400, 422)
    hub.call("PATCH", "Patient/an", operations([{"name": "type", "valueCode": "delete"}] * 1000)).refused(400, 422)
    deep: list[dict[str, Any]] = [{"name": "value", "valueString": "x"}]
    for _ in range(50):
        deep = [{"name": "value", "part": deep}]
    add = [{"name": "type", "valueCode": "add"}, {"name": "path", "valueString": "Patient"}, {"name": "name", "valueString": "contact"}]
    hub.call("PATCH", "Patient/an", operations([*add, *deep])).refused(400, 422)


@pytest.mark.parametrize("name", sorted(EXPRESSIONS))
def test_search_parameters(hub: Attacked, name: str) -> None:
    """An expression that is refused is never served; one that is taken costs later creates little, and goes again."""
    parameter = {
        "resourceType": "SearchParameter",
        "id": "hostile",
        "url": "http://x.vn/sp/hostile",
        "name": "hostile",
        "status": "active",
        "description": "x",
        "code": "hostile",
        "base": ["Basic"],
        "type": "string",
        "expression": EXPRESSIONS[name].replace("Patient", "Basic") or " ",
    }
    answer = hub.call("PUT", "SearchParameter/hostile", json.dumps(parameter).encode())
    if answer.status in (200, 201):
        basic = hub.post("Basic", b'{"resourceType":"Basic","code":{"text":"a"},"identifier":[{"value":"1"},{"value":"2"},{"value":"3"}]}')
        assert basic.status == 201 or basic.refused(422)
        assert hub.get("Basic?hostile=a").status in (200, 400)
        assert hub.call("DELETE", "SearchParameter/hostile").status in (200, 204)
    else:
        answer.refused(400, 422)


GRAPHQL: dict[str, str] = {
    "nothing": "",
    "a brace": "{",
    "ten thousand braces": "{a" * 10_000 + "}" * 10_000,
    "brackets": "{Patient(id:" + "[" * 10_000 + "]" * 10_000 + "){id}}",
    "objects": "{Patient(id:" + "{a:" * 10_000 + "1" + "}" * 10_000 + "){id}}",
    "depth": '{Patient(id:"an"){' + "link{other{resource{... on Patient{" * 200 + "id" + "}}}}" * 200 + "}}",
    "aliases": "{" + " ".join(f'a{i}:Patient(id:"an"){{id}}' for i in range(20_000)) + "}",
    "lists": "{" + " ".join(f"a{i}:PatientList(_count:1000){{id name{{family given}}}}" for i in range(1000)) + "}",
    "fragments that meet": "{...a} fragment a on Query{...b} fragment b on Query{...a}",
    "a fragment of itself": "{...a} fragment a on Query{...a}",
    "fragments that double": "{...f0} "
    + " ".join(f"fragment f{i} on Query{{...f{i + 1} ...f{i + 1}}}" for i in range(40))
    + ' fragment f40 on Query{Patient(id:"an"){id}}',
    "directives": '{Patient(id:"an")' + "@skip(if:false)" * 10_000 + "{id}}",
    "fields": '{Patient(id:"an"){' + "id " * 20_000 + "}}",
    "commas": "{" + "," * 100_000 + "}",
    "a comment": "#" + "a" * 1_000_000,
    "a block string": '{Patient(id:"""' + "a" * 1_000_000 + '"""){id}}',
    "a cut string": '{Patient(id:"an',
    "SQL": '{PatientList(name:"\' OR 1=1 --"){id}}',
    "an id": '{Patient(id:"../x"){id}}',
    "an unknown field": '{Patient(id:"an"){__class__}}',
    "a mutation": 'mutation{PatientDelete(id:"an"){id}}',
    "a subscription": "subscription{a}",
    "introspection again and again": "{"
    + " ".join(
        f"a{i}:__schema{{types{{name fields{{name type{{name ofType{{name ofType{{name fields{{name}}}}}}}}}}}}}}" for i in range(200)
    )
    + "}",
    "introspection's depth": "{__schema{types{" + "fields{type{" * 60 + "name" + "}}" * 60 + "}}}",
    "variables": "query(" + "".join(f"$a{i}:String " for i in range(5000)) + "){a}",
    "many operations": "query a{a} " * 5000,
    "a NUL": '{Patient(id:"a\\u0000"){id}}',
    "a surrogate": '{Patient(id:"\\ud800"){id}}',
    "a count": "{PatientList(_count:99999999999999999999){id}}",
    "a count below": "{PatientList(_count:-1){id}}",
    "a cursor": '{PatientConnection(_cursor:"x"){count}}',
}


def _refused(answer: wire.Answer) -> None:
    """As GraphQL tells errors, with an OperationOutcome in each."""
    if "fhir" in answer.headers["content-type"]:
        answer.refused()
        return
    found = answer.json()["errors"]
    assert found
    assert 400 <= answer.status < 500
    for error in found:
        assert error["extensions"]["resource"]["resourceType"] == "OperationOutcome"
        assert error["extensions"]["resource"]["issue"][0]["code"] != "exception"


@pytest.mark.parametrize("name", sorted(GRAPHQL))
def test_graphql(hub: Attacked, name: str) -> None:
    for path in ("$graphql", "Patient/an/$graphql"):
        body = json.dumps({"query": GRAPHQL[name], "variables": {"a": 1}}).encode()
        answers = [hub.post(path, body, "application/json")]
        if not name.startswith("introspection"):
            answers.append(hub.post(path, GRAPHQL[name].encode() or b" ", "application/graphql"))
        for answer in answers:
            assert answer.status in (200, 400, 404, 413, 414, 422), (answer.status, answer.body[:300])
            assert len(answer.body) < 30 << 20
            if answer.status != 200:
                _refused(answer)
    for body in (
        b"[]",
        b"null",
        b'{"query":1}',
        b'{"query":["{a}"]}',
        b'{"query":"{a}","variables":[]}',
        b'{"query":"{a}","variables":"x"}',
        b'{"query":"{a}","operationName":{}}',
        b"{}",
    ):
        _refused(hub.post("$graphql", body, "application/json"))


def test_operations(hub: Attacked) -> None:
    for path in (
        "Patient/an/$everything?start=2013-02-30",
        "Patient/an/$everything?_since=x",
        "Patient/an/$everything?_count=-1",
        "Patient/an/$everything?_type=Nonsense",
        "Patient/an/$everything?_page=x",
        "Observation/$lastn?max=-1",
        "Observation/$lastn?max=99999999999999999999",
        "Observation/$lastn?max=x&patient=Patient/an",
        "Patient/an/$meta?x=%ff",
        "Patient/none/$everything",
        "$nonsense",
        "Patient/an/$meta-add?meta=x",
        "Observation/$lastn?patient=" + "a" * 10_000,
        "Patient/$everything?_page=AAAA",
    ):
        answer = hub.get(path)
        if answer.status != 200:
            answer.refused()
    for body in (
        b"{}",
        b"[]",
        b'{"resourceType":"Parameters","parameter":[{"name":"meta"}]}',
        b'{"resourceType":"Parameters","parameter":[{"name":"meta","valueMeta":{"nonsense":1}}]}',
        b'{"resourceType":"Parameters","parameter":[' + b'{"name":"meta","valueMeta":{"tag":[{"code":"a"}]}},' * 20_000 + b'{"name":"x"}]}',
        b'{"resourceType":"Parameters","parameter":[{"name":"meta","valueMeta":{"tag":[' + b'{"code":"a"},' * 50_000 + b'{"code":1}]}}]}',
    ):
        for path in ("Patient/an/$meta-add", "Patient/an/$meta-delete", "Patient/$validate", "Patient/an/$nonsense"):
            answer = hub.post(path, body)
            assert answer.status == 200 or answer.refused()
    assert wire.send(hub.port, wire.head("POST", "Patient/an/$meta-add", [("Content-Type", wire.JSON), ("Content-Length", "0")])).refused(
        400
    )
