"""What an operation is given: the query of a GET, a Parameters resource of a POST, both the same to the operation (R4 operations.html)."""

from dataclasses import dataclass, field
from typing import Any

from health_hub.fhir.outcome import FhirError, Issue, bad_request
from health_hub.rest.request import Pairs, Request
from health_hub.rest.respond import Response

# What the REST layer itself understands on any request.
_COMMON = frozenset(("_format", "_pretty", "_summary", "_elements", "_page"))


@dataclass(slots=True)
class Inputs:
    """`values`: name -> every value as sent (text from a query, JSON values from Parameters), in order."""

    values: dict[str, list[Any]] = field(default_factory=dict)
    body: dict[str, Any] | None = None  # a resource posted bare, for operations that take one

    def one(self, name: str) -> Any | None:
        """A value that may be given once."""
        found = self.values.get(name)
        if found is not None and len(found) > 1:
            raise bad_request(f"{name} may be given once", "invalid", name)
        return found[0] if found else None

    def text(self, name: str) -> str | None:
        value = self.one(name)
        if value is not None and not isinstance(value, str):
            value = str(value).lower() if isinstance(value, bool) else str(value)
        return value

    def count(self, name: str, most: int) -> int | None:
        """A positive whole number, at most `most` (a larger one counts as that)."""
        text = self.text(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit()) or int(text[:10]) == 0:
            raise bad_request(f"{name}={text[:50]!r} is no positive integer", "value", name)
        return min(int(text[:10]), most)

    def pairs(self) -> Pairs:
        """As name and text, for operations that take search parameters."""
        return [(name, v if isinstance(v, str) else str(v)) for name, values in self.values.items() for v in values]


async def inputs(request: Request, *, known: frozenset[str] | None = None, resources: frozenset[str] = frozenset()) -> Inputs:
    """Query and body together. `known`: other names are refused. `resources`: types that may be posted bare, "*" for all."""
    out = Inputs()
    for name, value in request.pairs:
        if name not in _COMMON:
            out.values.setdefault(name, []).append(value)
    if request.method == "POST":
        await _body(request, out, resources)
    if known is not None:
        for name in out.values:
            if name not in known:
                raise bad_request(
                    f"parameter {name[:100]!r} is not one of this operation: {', '.join(sorted(known))}", "not-supported", name[:100]
                )
    return out


async def _body(request: Request, out: Inputs, resources: frozenset[str]) -> None:
    if request.content_type.name == "application/x-www-form-urlencoded":
        before = len(request.pairs)
        await request.form()
        for name, value in request.pairs[before:]:
            out.values.setdefault(name, []).append(value)
        return
    if not await has_body(request):
        return
    body = await request.resource()
    if not isinstance(body, dict):
        raise bad_request("the body is not a resource: a JSON object is expected", "structure")
    found = body.get("resourceType")
    if found == "Parameters":
        _parameters(body, out)
        # An operation that takes a bare Parameters resource as its subject has no use for it here.
    elif "*" in resources or found in resources:
        out.body = body
    else:
        raise bad_request(f"the body is a {str(found)[:64]}, Parameters are expected", "invalid", "resourceType")


async def has_body(request: Request) -> bool:
    """Whether anything was posted; an entry of a batch has its resource and no bytes."""
    try:
        return bool(await request.body()) or bool(await request.resource())
    except FhirError as e:
        if any(i.code == "required" for i in e.issues):
            return False
        raise


def _parameters(body: dict[str, Any], out: Inputs) -> None:
    listed = body.get("parameter", [])
    if not isinstance(listed, list):
        raise bad_request("parameter must be a list", "structure", "Parameters.parameter")
    for n, parameter in enumerate(listed):
        at = f"Parameters.parameter[{n}]"
        if not isinstance(parameter, dict) or not isinstance(parameter.get("name"), str):
            raise bad_request("a parameter needs a name", "required", f"{at}.name")
        values = [v for k, v in parameter.items() if k == "resource" or (k.startswith("value") and len(k) > 5)]
        if len(values) != 1:
            raise FhirError(400, Issue("invariant", "a parameter has one value[x] or one resource", (at,)))
        out.values.setdefault(parameter["name"], []).append(values[0])


def parameters(name: str, value: str, content: Any) -> Response:
    """A Parameters answer with one part, `value` being its JSON name such as `valueMeta`."""
    return Response(200, resource={"resourceType": "Parameters", "parameter": [{"name": name, value: content}]}, subset_done=True)
