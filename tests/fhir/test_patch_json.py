"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7396)."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from health_hub.fhir.json import dumps, loads
from health_hub.fhir.outcome import FhirError
from health_hub.fhir.patch import json_patch, merge_patch, without_empty
from health_hub.fhir.patch.tree import equal

# RFC 6902 appendix A and section 4: (what, document, operations, result).
WORKS: list[tuple[str, Any, list[dict[str, Any]], Any]] = [
    ("A.1 add a member", {"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
    ("A.2 add an item", {"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ("A.3 remove a member", {"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ("A.4 remove an item", {"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    ("A.5 replace", {"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
    (
        "A.6 move a value",
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    (
        "A.7 move an item",
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    (
        "A.8 test a value",
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    ("A.10 add a nested member", {"foo": "bar"}, [{"op": "add", "path": "/child", "value": {"g": {}}}], {"foo": "bar", "child": {"g": {}}}),
    ("A.11 unknown members", {"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux", "xyz": 1}], {"foo": "bar", "baz": "qux"}),
    ("A.14 escapes", {"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ("A.16 add an array", {"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc"]}], {"foo": ["bar", ["abc"]]}),
    ("4.1 add replaces a member", {"a": 1}, [{"op": "add", "path": "/a", "value": None}], {"a": None}),
    ("4.1 the whole document", {"a": 1}, [{"op": "add", "path": "", "value": {"b": 2}}], {"b": 2}),
    ("4.3 replace the whole document", {"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
    ("4.4 move to itself", {"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": 1}),
    ("4.5 copy", {"a": {"b": [1]}}, [{"op": "copy", "from": "/a/b", "path": "/c"}], {"a": {"b": [1]}, "c": [1]}),
    (
        "4.6 members in any order",
        {"a": {"x": 1, "y": 2}},
        [{"op": "test", "path": "/a", "value": {"y": 2, "x": 1}}],
        {"a": {"x": 1, "y": 2}},
    ),
    ("an empty name", {"": {"": 1}}, [{"op": "replace", "path": "//", "value": 2}], {"": {"": 2}}),
    ("at the end", {"a": [1]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2]}),
    ("nothing", {"a": 1}, [], {"a": 1}),
]
# (what, document, operations, status)
FAILS: list[tuple[str, Any, Any, int]] = [
    ("A.9 another value", {"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}], 422),
    ("A.12 no such parent", {"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": "qux"}], 422),
    ("A.15 a string is no number", {"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}], 422),
    ("true is not 1", {"a": True}, [{"op": "test", "path": "/a", "value": 1}], 422),
    ("remove what is not there", {}, [{"op": "remove", "path": "/a"}], 422),
    ("replace what is not there", {}, [{"op": "replace", "path": "/a", "value": 1}], 422),
    ("beyond the end", {"a": [1]}, [{"op": "add", "path": "/a/2", "value": 1}], 422),
    ("- is no item", {"a": [1]}, [{"op": "remove", "path": "/a/-"}], 422),
    ("an index with a zero before it", {"a": [1, 2]}, [{"op": "remove", "path": "/a/01"}], 422),
    ("a negative index", {"a": [1, 2]}, [{"op": "remove", "path": "/a/-1"}], 422),
    ("a member of a string", {"a": "b"}, [{"op": "add", "path": "/a/b", "value": 1}], 422),
    ("a move into itself", {"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a/c"}], 422),
    ("the second fails", {"a": 1}, [{"op": "remove", "path": "/a"}, {"op": "remove", "path": "/a"}], 422),
    ("no array", {}, {"op": "add"}, 400),
    ("no object", {}, [1], 400),
    ("no op", {}, [{"path": "/a", "value": 1}], 400),
    ("unknown op", {}, [{"op": "spam", "path": "/a", "value": 1}], 400),
    ("no path", {}, [{"op": "add", "value": 1}], 400),
    ("no value", {}, [{"op": "add", "path": "/a"}], 400),
    ("no from", {"a": 1}, [{"op": "copy", "path": "/a"}], 400),
    ("no slash", {"a": 1}, [{"op": "remove", "path": "a"}], 400),
    ("a bad escape", {"a": 1}, [{"op": "remove", "path": "/~2"}], 400),
    ("too many steps", {"a": 1}, [{"op": "remove", "path": "/a" * 200}], 400),
    ("too many operations", {"a": 1}, [{"op": "test", "path": "/a", "value": 1}] * 10_001, 400),
    ("a bomb", {"a": [1]}, [{"op": "copy", "from": "", "path": "/a/-"}] * 40, 422),
]


@pytest.mark.parametrize(("document", "operations", "result"), [c[1:] for c in WORKS], ids=[c[0] for c in WORKS])
def test_json_patch(document: Any, operations: Any, result: Any) -> None:
    before = copy.deepcopy(document)
    after = json_patch(document, operations)
    assert after == result
    assert document == before


@pytest.mark.parametrize(("document", "operations", "status"), [c[1:] for c in FAILS], ids=[c[0] for c in FAILS])
def test_json_patch_is_refused(document: Any, operations: Any, status: int) -> None:
    before = copy.deepcopy(document)
    with pytest.raises(FhirError) as refused:
        json_patch(document, operations)
    assert refused.value.status == status
    assert document == before


def test_numbers_compare_by_value_and_keep_their_text() -> None:
    document = loads(b'{"value":1.00,"other":1.50}')
    after = json_patch(document, loads(b'[{"op":"test","path":"/value","value":1},{"op":"add","path":"/third","value":2.500}]'))
    assert dumps(after) == b'{"value":1.00,"other":1.50,"third":2.500}'


def test_what_a_patch_empties_can_be_taken_away() -> None:
    after = json_patch({"name": [{"given": ["a"]}], "active": False, "x": 0}, [{"op": "remove", "path": "/name/0/given/0"}])
    assert after == {"name": [{"given": []}], "active": False, "x": 0}
    assert without_empty(after) == {"active": False, "x": 0}


def test_the_patch_shares_nothing_with_the_result() -> None:
    value = {"b": [1]}
    after = json_patch({}, [{"op": "add", "path": "/a", "value": value}, {"op": "add", "path": "/a/b/-", "value": 2}])
    assert after == {"a": {"b": [1, 2]}}
    assert value == {"b": [1]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab~/", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab~/", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, json_values)
def test_replacing_everything_gives_the_value(document: Any, value: Any) -> None:
    assert json_patch(document, [{"op": "replace", "path": "", "value": value}, {"op": "test", "path": "", "value": value}]) == value
    assert equal(document, copy.deepcopy(document))


# RFC 7396 appendix A: (document, patch, result).
MERGES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("document", "patch", "result"), MERGES)
def test_merge_patch(document: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy(document)
    assert merge_patch(document, patch) == result
    assert document == before


def test_merge_keeps_the_order_and_the_text_of_numbers() -> None:
    after = merge_patch(loads(b'{"a":1.0,"b":{"c":2.00,"d":1},"e":5}'), loads(b'{"b":{"d":3.10},"a":7.0}'))
    assert dumps(after) == b'{"a":7.0,"b":{"c":2.00,"d":3.10},"e":5}'
