"""Bodies that mean harm, by what is wrong with them."""

import json
from collections.abc import Iterator
from typing import Any

DEEP = 10_000


def patient(**more: Any) -> bytes:
    return json.dumps({"resourceType": "Patient", **more}, ensure_ascii=False).encode("utf-8", "surrogatepass")


def nest(before: bytes, after: bytes, inner: bytes = b"", depth: int = DEEP) -> bytes:
    return before * depth + inner + after * depth


DEEP_JSON: dict[str, bytes] = {
    "arrays": nest(b"[", b"]"),
    "objects": nest(b'{"a":', b"}", b"1"),
    "arrays that never end": b"[" * DEEP,
    "objects that never end": b'{"a":' * DEEP,
    "extensions": b'{"resourceType":"Patient","extension":['
    + nest(b'{"url":"http://x.vn","extension":[', b"]}", b'{"url":"x","valueCode":"a"}')
    + b"]}",
    "contained": nest(b'{"resourceType":"Patient","contained":[', b"]}", b'{"resourceType":"Patient"}'),
    "Bundles": nest(b'{"resourceType":"Bundle","type":"collection","entry":[{"resource":', b"}]}", b'{"resourceType":"Patient"}'),
    "Questionnaire items": b'{"resourceType":"Questionnaire","status":"draft","item":['
    + nest(b'{"linkId":"a","type":"group","item":[', b"]}", b'{"linkId":"b","type":"string"}')
    + b"]}",
    "Parameters parts": b'{"resourceType":"Parameters","parameter":['
    + nest(b'{"name":"a","part":[', b"]}", b'{"name":"b","valueCode":"b"}')
    + b"]}",
    "an unknown element": b'{"resourceType":"Patient","nonsense":' + nest(b"[", b"]") + b"}",
    "a primitive's place": b'{"resourceType":"Patient","active":' + nest(b"[", b"]") + b"}",
}

MALFORMED_JSON: dict[str, bytes] = {
    "nothing": b"",
    "a space": b" ",
    "a brace": b"{",
    "a cut string": b'{"resourceType":"Pati',
    "a cut escape": b'{"resourceType":"\\u00',
    "a cut resource": b'{"resourceType":"Patient","name":[{"family":"Nguy',
    "null": b"null",
    "a number": b"1",
    "an array": b"[]",
    "a string": b'"Patient"',
    "two values": b'{"resourceType":"Patient"}{"resourceType":"Patient"}',
    "a comma too many": b'{"resourceType":"Patient","active":true,}',
    "a comment": b'{"resourceType":"Patient"/* x */}',
    "single quotes": b"{'resourceType':'Patient'}",
    "no quotes": b"{resourceType:Patient}",
    "NaN": b'{"resourceType":"Patient","active":NaN}',
    "Infinity": b'{"resourceType":"Patient","active":-Infinity}',
    "a plus": b'{"resourceType":"Patient","multipleBirthInteger":+1}',
    "a leading zero": b'{"resourceType":"Patient","multipleBirthInteger":01}',
    "hexadecimal": b'{"resourceType":"Patient","multipleBirthInteger":0x10}',
    "a raw newline": b'{"resourceType":"Pati\nent"}',
    "an unknown escape": b'{"resourceType":"\\xPatient"}',
    "XML": b'<Patient xmlns="http://hl7.org/fhir"/>',
    "pickle": b"\x80\x04\x95\x10.",
    "a form": b"resourceType=Patient",
    "UTF-16": '{"resourceType":"Patient"}'.encode("utf-16"),
    "UTF-32": '{"resourceType":"Patient"}'.encode("utf-32"),
    "Latin-1": '{"resourceType":"Patient","name":[{"family":"Nguyên"}]}'.encode("latin-1"),
    "an overlong slash": b'{"resourceType":"Patient\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"resourceType":"Patient","language":"\xed\xa0\x80"}',
    "beyond Unicode": b'{"resourceType":"\xf5\x80\x80\x80"}',
    "a cut character": b'{"resourceType":"Patient\xc4',
    "a lone continuation": b'{"resourceType":"\x80"}',
    "a raw NUL": b'{"resourceType":"Patient","name":[{"family":"a\x00b"}]}',
    "a NUL behind": b'{"resourceType":"Patient"}\x00',
    "NULs": b"\x00" * 100_000,
    "a high surrogate": b'{"resourceType":"Patient","name":[{"family":"\\ud800"}]}',
    "a low surrogate": b'{"resourceType":"Patient","name":[{"family":"\\udc00a"}]}',
    "surrogates the wrong way": b'{"resourceType":"Patient","name":[{"family":"\\udc00\\ud800"}]}',
    "the same key twice": b'{"resourceType":"Patient","active":true,"active":false}',
    "the same key twice, once escaped": b'{"resourceType":"Patient","active":true,"\\u0061ctive":false}',
    "the same key twice, deep": b'{"resourceType":"Patient","name":[{"family":"a","family":"b"}]}',
    "resourceType twice": b'{"resourceType":"Patient","resourceType":"Group"}',
    "an unknown element": patient(x=1),
    "another type": b'{"resourceType":"Observation"}',
    "no type": b'{"active":true}',
    "a type that is none": b'{"resourceType":"Nonsense"}',
    "an abstract type": b'{"resourceType":"DomainResource"}',
    "a type that is a list": b'{"resourceType":["Patient"]}',
    "a type that is null": b'{"resourceType":null}',
    "a data type": b'{"resourceType":"HumanName"}',
    "an escaped NUL": b'{"resourceType":"Patient","name":[{"family":"a\\u0000b"}]}',
    "control characters": b'{"resourceType":"Patient","name":[{"family":"a\\u0001\\u001b[2Jb"}]}',
    "an empty object": patient(name=[{}]),
    "an empty array": patient(name=[]),
    "an empty string": patient(name=[{"family": ""}]),
    "a null": patient(active=None),
    "no array": patient(name={"family": "a"}),
    "an array for one": patient(active=[True]),
    "a number for a string": patient(name=[{"family": 1}]),
    "a string for a boolean": patient(active="true"),
    "a code that is none": patient(gender="MALE"),
    "an SQL gender": patient(gender="' OR 1=1 --"),
    "both of a choice": patient(deceasedBoolean=True, deceasedDateTime="2020"),
    "an integer too large": b'{"resourceType":"Patient","multipleBirthInteger":99999999999999999999999999999999}',
    "an integer of a megabyte": b'{"resourceType":"Patient","multipleBirthInteger":' + b"9" * (1 << 20) + b"}",
    "a decimal's exponent": b'{"resourceType":"Patient","multipleBirthInteger":1e999999999}',
    "a script": patient(text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><script>alert(1)</script></div>'}),
    "an event": patient(text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p onclick="x()">a</p></div>'}),
    "an entity in a narrative": patient(
        text={
            "status": "generated",
            "div": '<!DOCTYPE div [<!ENTITY x SYSTEM "file:///etc/passwd">]><div xmlns="http://www.w3.org/1999/xhtml">&x;</div>',
        }
    ),
    "a deep narrative": patient(
        text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">' + "<b>" * DEEP + "</b>" * DEEP + "</div>"}
    ),
    "__proto__": b'{"resourceType":"Patient","__proto__":{"active":true}}',
    "an address outside": patient(photo=[{"data": "%%%"}]),
    "a key of a megabyte": b'{"resourceType":"Patient","' + b"x" * (1 << 20) + b'":1}',
    "fifty thousand unknown elements": patient(**{f"x{i}": i for i in range(50_000)}),
    "a hundred thousand empty names": patient(name=[{}] * 100_000),
    "a hundred thousand nulls": patient(name=[{"given": [None] * 100_000}]),
}

DATES = [
    "2013-02-30",
    "2013-13-01",
    "2013-00-01",
    "2013-01-00",
    "0000-01-01",
    "2013-1-1",
    "13-01-01",
    "2013/01/01",
    "20130101",
    "2023-02-29",
    "10000-01-01",
    "-2013",
    "2013-01-01T",
    "2013-01-01T10:00:00Z",
    "NaN",
    "",
    " 2013",
    "2013 ",
    "2013\n",
    "٢٠١٣",
    "２０１３",
    "' OR 1=1",
    "2013-01-01; DROP TABLE resource",
]
INSTANTS = [
    "2013-01-14T25:00:00Z",
    "2013-01-14T10:60:00Z",
    "2013-01-14T10:00:61Z",
    "2013-01-14T10:00:00",
    "2013-01-14T10:00:00+15:00",
    "2013-01-14T10:00:00+07",
    "2013-01-14T10:00Z",
    "2013-01-14 10:00:00Z",
    "2013-01-14T10:00:00.Z",
    "2013-02-29T00:00:00Z",
    "9999-99-99T99:99:99Z",
    "2013-01-14T24:00:01Z",
    "2013-01-14T10:00:00+07:60",
]
IDS = ["a b", "a_b", "a" * 65, "'", "1;DROP TABLE resource", "é", "🙂", "%", "\\", "a\x00", "<a>", "${jndi:ldap://x}", "a|b", "$x y"]


def xml(inside: str = "", before: str = "", type: str = "Patient") -> bytes:
    return f'{before}<{type} xmlns="http://hl7.org/fhir">{inside}</{type}>'.encode("utf-8", "surrogatepass")


_LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
HOSTILE_XML: dict[str, bytes] = {
    "nothing": b"",
    "a cut tag": b"<Patient",
    "a cut resource": b'<Patient xmlns="http://hl7.org/fhir"><active',
    "JSON": b'{"resourceType":"Patient"}',
    "an external entity": xml('<name><family value="&x;"/></name>', '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
    "an external entity over HTTP": xml('<name><family value="&x;"/></name>', '<!DOCTYPE a [<!ENTITY x SYSTEM "http://127.0.0.1:9/x">]>'),
    "an external DTD": xml('<active value="true"/>', '<!DOCTYPE Patient SYSTEM "http://127.0.0.1:9/x.dtd">'),
    "a public DTD": xml('<active value="true"/>', '<!DOCTYPE Patient PUBLIC "-//x//y" "http://127.0.0.1:9/x.dtd">'),
    "parameter entities": xml('<active value="true"/>', '<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/passwd">%x;]>'),
    "a billion laughs": xml('<name><family value="&l9;"/></name>', f'<!DOCTYPE a [<!ENTITY l0 "lol">{_LAUGHS}]>'),
    "quadratic growth": xml('<name><family value="' + "&a;" * 10_000 + '"/></name>', '<!DOCTYPE a [<!ENTITY a "' + "a" * 100_000 + '">]>'),
    "an entity of its own": xml('<name><family value="&x;"/></name>', '<!DOCTYPE a [<!ENTITY x "&x;">]>'),
    "an empty DTD": xml("", "<!DOCTYPE Patient>"),
    "an unknown entity": xml('<name><family value="&nbsp;"/></name>'),
    "a default attribute": xml("", '<!DOCTYPE a [<!ATTLIST active value CDATA "true">]>'),
    "XInclude": xml('<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd" parse="text"/>'),
    "a stylesheet": xml('<nonsense value="1"/>', '<?xml-stylesheet href="http://127.0.0.1:9/x.xsl" type="text/xsl"?>'),
    "schemaLocation": b'<Patient xmlns="http://hl7.org/fhir" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="http://127.0.0.1:9/"><x/></Patient>',
    "a NUL": xml('<name><family value="a&#0;b"/></name>'),
    "a raw NUL": xml('<name><family value="a\x00b"/></name>'),
    "a surrogate": xml('<name><family value="&#xD800;"/></name>'),
    "a raw surrogate": xml('<name><family value="\ud800"/></name>'),
    "wrong UTF-8": b'<Patient xmlns="http://hl7.org/fhir"><name><family value="\xff\xfe"/></name></Patient>',
    "beyond Unicode": xml('<name><family value="&#x110000;"/></name>'),
    "another encoding": xml("", '<?xml version="1.0" encoding="UTF-7"?>'),
    "an unknown encoding": xml("", '<?xml version="1.0" encoding="nonsense"?>'),
    "XML 1.1": xml('<name><family value="&#1;"/></name>', '<?xml version="1.1"?>'),
    "no namespace": b"<Patient><active value='true'/></Patient>",
    "another namespace": b'<Patient xmlns="http://example.org"><active value="true"/></Patient>',
    "two roots": xml() + xml(),
    "an attribute twice": xml('<active value="true" value="false"/>'),
    "an element twice": xml('<active value="true"/><active value="false"/>'),
    "text between": xml("text"),
    "CDATA": xml("<![CDATA[x]]>"),
    "an unknown element": xml("<nonsense/>"),
    "an unknown attribute": xml('<active value="true" onload="x"/>'),
    "another type": xml(type="Nonsense"),
    "elements": nest(b"<a>", b"</a>"),
    "elements that never end": b"<Patient xmlns='http://hl7.org/fhir'>" + b"<a>" * DEEP,
    "extensions": xml('<extension url="a">' * DEEP + "</extension>" * DEEP),
    "contained": nest(b'<Patient xmlns="http://hl7.org/fhir"><contained>', b"</contained></Patient>", xml()),
    "Bundles": nest(
        b'<Bundle xmlns="http://hl7.org/fhir"><type value="collection"/><entry><resource>', b"</resource></entry></Bundle>", xml()
    ),
    "a narrative": xml(
        '<text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">' + "<b>" * DEEP + "</b>" * DEEP + "</div></text>"
    ),
    "a hundred thousand attributes": xml("<active " + " ".join(f'a{i}="{i}"' for i in range(100_000)) + "/>"),
    "a hundred thousand namespaces": xml("<active " + " ".join(f'xmlns:a{i}="http://x.vn/{i}"' for i in range(20_000)) + "/>"),
    "a tag of a megabyte": xml(f"<{'a' * (1 << 20)}/>"),
    "an impossible date": xml('<birthDate value="2013-02-30"/>'),
}


def repeated(piece: bytes, total: int) -> Iterator[bytes]:
    """`total` bytes of `piece` again and again, in pieces of about 64 KiB."""
    block = piece * (65536 // len(piece))
    while total > 0:
        yield block[:total]
        total -= len(block)
