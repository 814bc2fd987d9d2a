"""From a resource to its rows."""

from typing import Any

from fhir_profiles import tables
from fhir_profiles.fhirpath import FHIRPathError
from health_hub.fhir.index.emit import Sink
from health_hub.fhir.index.fulltext import word_keys
from health_hub.fhir.index.model import LARGEST, SMALLEST, Rows
from health_hub.fhir.index.program import program
from health_hub.fhir.index.repair import repaired
from health_hub.fhir.index.settings import pointed
from health_hub.fhir.labels import bits

_BOTH = SMALLEST | LARGEST
# What wrongly shaped content does to code that trusts it.
_WRONG = (AttributeError, TypeError, ValueError, KeyError, IndexError, ArithmeticError)


def extract(resource: dict[str, Any]) -> Rows:
    """Everything search needs to know of a resource. What is invalid in it is left out."""
    name = resource.get("resourceType")
    if not isinstance(name, str) or not tables.is_resource_type(name):
        return Rows()
    try:
        sink = _run(resource, name)
    except _WRONG:
        sink = _run(repaired(resource, name), name)
    persons = _persons(resource, name, sink)
    # PostgreSQL has no text with NUL.
    strings = [row for row in sink.strings if "\0" not in row[1]]
    return Rows(
        sorted(set(sink.keys)),
        _marked(sink.dates, 2) if sink.dates else [],
        _marked(sink.numbers, 2) if sink.numbers else [],
        _marked(sink.quantities, 2) if sink.quantities else [],
        _marked(strings, 1) if strings else [],
        sink.positions,
        persons,
        bits(resource) if "meta" in resource else 0,
    )


def _persons(resource: dict[str, Any], name: str, sink: Sink) -> list[int]:
    """The Patients it is about, for access; about none: who made or got it. A Group is in nobody's record: it tells of others."""
    if name == "Group":
        return []
    if name == "Patient":
        # Not of those it is linked to: who treats one would else see the other.
        id = resource.get("id")
        return [pointed(f"Patient/{id}")[0]] if isinstance(id, str) and id else []
    if name == "Binary":
        context = resource.get("securityContext")
        to = context.get("reference") if isinstance(context, dict) else None
        hashed, kind = pointed(to) if isinstance(to, str) and to else (0, None)
        return [hashed] if kind == "Patient" else []
    return sorted(set(sink.persons or sink.named))


def _run(resource: dict[str, Any], name: str) -> Sink:
    sink = Sink(resource)
    made = program(name)
    made.fast(resource, sink)
    for write in made.slow:
        try:
            write(resource, sink)
        except (FHIRPathError, *_WRONG):
            # A parameter that someone added fails on this resource: the others are not to suffer.
            continue
    sink.keys += word_keys(resource)
    return sink


def _marked(rows: list[Any], high: int) -> list[Any]:
    """The rows with SMALLEST and LARGEST set, once for each p; `high` is where the upper end stands."""
    if len(rows) == 1:
        row = rows[0]
        return [(*row[:-1], row[-1] | _BOTH)]
    if len({row[0] for row in rows}) == len(rows):
        return sorted([(*row[:-1], row[-1] | _BOTH) for row in rows])
    rows = list(dict.fromkeys(rows))
    smallest: dict[int, Any] = {}
    largest: dict[int, Any] = {}
    for row in rows:
        p = row[0]
        if p not in smallest:
            smallest[p] = largest[p] = row
        else:
            if row[1:] < smallest[p][1:]:
                smallest[p] = row
            if (row[high], row) > (largest[p][high], largest[p]):
                largest[p] = row
    return sorted(
        (*row[:-1], row[-1] | (SMALLEST if row is smallest[row[0]] else 0) | (LARGEST if row is largest[row[0]] else 0)) for row in rows
    )
