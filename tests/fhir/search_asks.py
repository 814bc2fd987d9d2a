"""Shared by the search grammar's tests: one way to parse, one way to read the refusals."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from health_hub.fhir.outcome import FhirError
from health_hub.fhir.search.parse import parse
from health_hub.fhir.search.query import Node, Query
from health_hub.fhir.search.split import split_query

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
BASE = "http://hub.example/fhir"
NOW = 1_760_000_000_000_000


def ask(types: str, query: str, *, strict: bool = True, **more: Any) -> Query:
    """`ask("Patient", "name=a&_count=2")`; types joined by commas."""
    pairs = split_query(query.encode())
    return parse(tuple(types.split(",")) if types else (), pairs, strict=strict, zone=ZONE, base=BASE, now=NOW, **more)


def one(types: str, query: str) -> Node:
    """The single condition of a search."""
    (node,) = ask(types, query).where
    return node


def refused(types: str, query: str, *, strict: bool = True) -> list[str]:
    """The reasons of a 400; each names the parameter."""
    with pytest.raises(FhirError) as raised:
        ask(types, query, strict=strict)
    assert raised.value.status == 400
    assert all(i.expression and i.expression[0].startswith("http.") for i in raised.value.issues if i.diagnostics.startswith("parameter"))
    return [i.diagnostics for i in raised.value.issues]
