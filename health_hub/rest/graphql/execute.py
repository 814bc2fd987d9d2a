"""Runs a document: selects from resources in memory, and gathers what must be read or searched, to ask for it together.

A round selects all it can; references and searches met on the way wait, and are read in one call at its end. So a query over a
thousand Observations reads their patients in one statement.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from fhir_profiles import tables
from fhir_profiles.fhirpath import FHIRPathError, compile_
from health_hub.fhir import references
from health_hub.fhir.json import loads
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.rest.bundle.pace import Pace
from health_hub.rest.graphql import schema
from health_hub.rest.graphql.document import Field, refuse
from health_hub.rest.graphql.output import Output, Slot, Status
from health_hub.rest.hub import Hub
from health_hub.rest.read import is_id
from health_hub.rest.request import Request
from health_hub.store.model import Stored

_ABREAST = 8  # searches under way at once
_RESOURCE, _SEARCH = 10, 100  # what a resource read and a search cost, an element counting 1
_INDEX = re.compile(r"\$index\b")
Search = Callable[["Run", Field, str, str | None], Awaitable[Any]]


@dataclass(slots=True)
class Read:
    """A reference to be followed."""

    type: str
    id: str
    optional: bool
    done: Callable[[dict[str, Any] | None], None]


class Run:
    """One query under way."""

    def __init__(self, hub: Hub, request: Request, search: Search) -> None:
        self.hub, self.request = hub, request
        self.view = hub.view(request, "s")
        self._search = search
        self._reads: list[Read] = []
        self._searches: list[tuple[Callable[[], Awaitable[Any]], Callable[[Any], None]]] = []
        self._left = hub.settings.graphql_cost
        self._pace = Pace()

    def spend(self, cost: int) -> None:
        self._left -= cost
        if self._left < 0:
            raise refuse(
                f"GraphQL: the query costs more than {self.hub.settings.graphql_cost} elements; ask for less at a time", "too-costly"
            )

    # --- rounds

    async def settle(self) -> None:
        """Until nothing waits any more."""
        while self._reads or self._searches:
            reads, self._reads = self._reads, []
            searches, self._searches = self._searches, []
            if reads:
                await self._follow(reads)
            for at in range(0, len(searches), _ABREAST):
                part = searches[at : at + _ABREAST]
                for (_, done), found in zip(part, await asyncio.gather(*[start() for start, _ in part]), strict=True):
                    done(found)
            if self._pace.due():
                await self._pace.rest()

    async def _follow(self, reads: list[Read]) -> None:
        names = list(dict.fromkeys((r.type, r.id) for r in reads))
        self.spend(_RESOURCE * len(names))
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for name, stored in zip(names, await self.view.read_many(names), strict=True):
            if stored is not None and not stored.deleted:
                found[name] = loads(stored.doc or b"{}")
        for read in reads:
            resource = found.get((read.type, read.id))
            if resource is None and not read.optional:
                raise FhirError(
                    404, Issue("not-found", f"GraphQL: {read.type}/{read.id} cannot be resolved; resource(optional: true) leaves it out")
                )
            read.done(resource)
            if self._pace.due():
                await self._pace.rest()

    def read(self, type_name: str, id_: str, *, optional: bool, done: Callable[[dict[str, Any] | None], None]) -> None:
        if is_id(id_):
            self._reads.append(Read(type_name, id_, optional, done))
        elif optional:
            done(None)
        else:
            raise FhirError(404, Issue("not-found", f"GraphQL: {type_name}/{id_[:70]} is not known"))

    def search(self, field: Field, name: str, focus: str | None, done: Callable[[Any], None]) -> None:
        self.spend(_SEARCH)
        self._searches.append((partial(self._search, self, field, name, focus), done))

    def found(self, stored: Stored) -> dict[str, Any]:
        """A hit as data."""
        self.spend(_RESOURCE)
        resource: dict[str, Any] = loads(stored.doc or b"{}")
        return resource

    # --- selecting

    def select(
        self,
        fields: list[Field],
        type_name: str,
        node: dict[str, Any],
        out: Output,
        *,
        listed: bool = False,
        suffix: str = "",
        whole: Any = None,
    ) -> None:
        """Puts what `fields` ask of `node` into `out`. `listed`: all becomes a list, below @flatten. `whole`: the resource around."""
        if tables.is_resource_type(type_name):
            whole = node
        self.spend(len(fields))
        elements = tables.type_(type_name).elements
        for field in fields:
            if field.on is not None and type_name not in field.on:
                continue
            name = field.name
            element = elements.get(name)
            if element is None:
                self._other(field, type_name, node, out, listed, suffix, whole, elements)
                continue
            value = node.get(name)
            if field.children is None:
                if value is None:
                    continue
                values = value if isinstance(value, list) else [value]
                if field.first:
                    values = values[:1]
                status = _status(field, listed or (element.array and not field.first))
                out.slot(field.key + suffix, status, element.type).values += [v for v in values if v is not None]
                continue
            values = value if isinstance(value, list) else [] if value is None else [value]
            values = [v for v in values if isinstance(v, dict)]
            if field.arguments:
                values = self._filtered(field, element, values, whole)
            if field.first:
                values = values[:1]
            self._each(field, element.type, values, out, listed, suffix, whole, array=element.array)

    def _each(
        self, field: Field, type_name: str, values: list[dict[str, Any]], out: Output, listed: bool, suffix: str, whole: Any, *, array: bool
    ) -> None:
        """The children of each value, in an object of their own or, with @flatten, in this one."""
        array = array and not field.first
        for n, value in enumerate(values):
            own = f".{self._sliced(field.slice, type_name, value, n, whole)}" if field.slice is not None else ""
            of = value["resourceType"] if type_name == "Resource" and isinstance(value.get("resourceType"), str) else type_name
            assert field.children is not None
            if field.flatten:
                self.select(field.children, of, value, out, listed=listed or array, suffix=suffix + own, whole=whole)
                continue
            inner = Output()
            out.slot(field.key + suffix + own, _status(field, listed or array), type_name).values.append(inner)
            self.select(field.children, of, value, inner, whole=whole)

    def _other(
        self,
        field: Field,
        type_name: str,
        node: dict[str, Any],
        out: Output,
        listed: bool,
        suffix: str,
        whole: Any,
        elements: dict[str, tables.Element],
    ) -> None:
        """What is asked for besides FHIR's own elements."""
        name = field.name
        if name in ("__typename", "resourceType"):
            if name == "__typename" or tables.is_resource_type(type_name):
                out.slot(field.key + suffix, _status(field, listed), "code").values.append(schema.graphql_name(type_name))
        elif name == "resource" and type_name == "Reference":
            self._resource(field, node, out, listed, suffix, whole)
        elif (search := schema.search_of(name)) is not None and tables.is_resource_type(type_name):
            slot = out.slot(field.key + suffix, "list" if search[1] == "List" else "one", "match")
            self.search(field, name, f"{type_name}/{node.get('id')}", slot.values.extend)
        elif name[:1] == "_" and (element := elements.get(name[1:])) is not None:
            value = node.get(name)
            values = value if isinstance(value, list) else [] if value is None else [value]
            self._each(
                field, "Element", [v if isinstance(v, dict) else {} for v in values], out, listed, suffix, whole, array=element.array
            )

    def _resource(self, field: Field, node: dict[str, Any], out: Output, listed: bool, suffix: str, whole: Any) -> None:
        """Reference.resource: contained, local, or not to be had."""
        text = node.get("reference")
        optional = field.arguments.get("optional") is True
        wanted = field.arguments.get("type")
        slot = None if field.flatten else out.slot(field.key + suffix, _status(field, listed), "")

        def put(resource: dict[str, Any] | None) -> None:
            if resource is None or (wanted is not None and resource.get("resourceType") != wanted):
                return
            of = resource["resourceType"]
            assert field.children is not None
            if slot is None:
                self.select(field.children, of, resource, out, listed=listed, suffix=suffix)
            else:
                inner = Output()
                slot.values.append(inner)
                self.select(field.children, of, resource, inner)

        if not isinstance(text, str):
            if not optional:
                raise FhirError(
                    404,
                    Issue(
                        "not-found", "GraphQL: a Reference without `reference` cannot be resolved; resource(optional: true) leaves it out"
                    ),
                )
            return
        if text[:1] == "#":
            inside = (whole or {}).get("contained", ()) if len(text) > 1 else [whole]
            put(next((r for r in inside if len(text) == 1 or r.get("id") == text[1:]), None))
            return
        literal = references.literal(text)
        if literal is None or literal.base not in ("", self.request.base + "/"):
            if not optional:
                raise FhirError(
                    404, Issue("not-found", f"GraphQL: {text[:200]} is not on this server; resource(optional: true) leaves it out")
                )
        elif wanted is None or literal.type == wanted:
            self.read(literal.type, literal.id, optional=optional, done=put)

    # --- arguments

    def _filtered(self, field: Field, element: tables.Element, values: list[dict[str, Any]], whole: Any) -> list[dict[str, Any]]:
        """List navigation: field filters and fhirpath first, then _offset and _count (R4 graphql.html#list)."""
        for name, wanted in field.arguments.items():
            if name == "fhirpath":
                values = [v for n, v in enumerate(values) if truth(self.path(str(wanted), element.type, v, n, whole))]
            elif name not in ("_offset", "_count"):
                values = [v for v in values if _equals(v.get(name), wanted)]
        offset, count = whole_number(field.arguments, "_offset"), whole_number(field.arguments, "_count")
        return values[offset or 0 :][: count if count is not None else len(values)]

    def path(self, text: str, type_name: str, value: dict[str, Any], n: int, whole: Any) -> list[Any]:
        """A client's FHIRPath on one value; `$index` is its place in the list."""
        self.spend(5)
        try:
            given = {"resource": whole} if isinstance(whole, dict) and "resourceType" in whole else None
            return compile_(_INDEX.sub(str(n), text))(value, None if type_name == "Resource" else type_name, variables=given, steps=20_000)
        except FHIRPathError as e:
            raise refuse(f"GraphQL: FHIRPath {text[:200]!r}: {e}") from None

    def _sliced(self, path: str | None, type_name: str, value: dict[str, Any], n: int, whole: Any) -> str:
        if path == "$index":
            return str(n)
        found = self.path(path or "", type_name, value, n, whole)
        return ",".join(str(v).lower() if isinstance(v, bool) else str(v) for v in found)


def _status(field: Field, listed: bool) -> Status:
    return "singleton" if field.singleton else "list" if listed else "one"


def _equals(value: Any, wanted: Any) -> bool:
    """Whether a sub-element has the value asked for; a list has it when one of its members does."""
    if isinstance(value, list):
        return any(_equals(v, wanted) for v in value)
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted or (isinstance(value, bool) and str(value).lower() == wanted)
    return value is not None and not isinstance(value, dict) and str(value) == str(wanted)


def truth(found: list[Any]) -> bool:
    """Whether a filter's result lets something through."""
    return bool(found) and found != [False]


def whole_number(arguments: dict[str, Any], name: str) -> int | None:
    value = arguments.get(name)
    if value is None:
        return None
    if type(value) is str and value.isascii() and value.isdigit():
        value = int(value[:10])
    if type(value) is not int or value < 0:
        raise refuse(f"GraphQL: {name} is a whole number", "value")
    return value


__all__ = ["Run", "Slot", "truth", "whole_number"]
