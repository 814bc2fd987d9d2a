"""References (R4 references.html): the type they point to, where it shows, and ref-1 for contained resources."""

import re
from collections.abc import Callable
from typing import Any

from fhir_profiles.tables import is_resource_type
from fhir_profiles.validator.problems import At, Run, shown

# `Type/id`, `Type/id/_history/n`, `Type?search` (transactions), each alone or at the end of a server's URL.
_literal = re.compile(
    r"(?P<base>https?://[^?#]*/)?(?P<type>[A-Z][A-Za-z]+)(?:/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?|\?.*)", re.DOTALL
).fullmatch

After = Callable[[Any, At, Run], None]


def evident_type(reference: str, run: Run) -> str | None:
    """The type that a reference shows, None if it does not; a word that is no resource type only from a relative reference."""
    if reference.startswith("#"):
        return run.contained().get(reference[1:])
    match = _literal(reference)
    if not match:
        return None
    name = match["type"]
    return name if match["base"] is None or is_resource_type(name) else None


def check_reference(targets: tuple[str, ...]) -> After:
    """Of a Reference that may point to `targets`; () is any."""
    allowed = frozenset(targets)

    def check(value: Any, at: At, run: Run) -> None:
        reference = value.get("reference")
        if type(reference) is not str:
            if allowed and "type" in value:
                _check_declared(value, at, run)
            return
        if reference.partition("/")[0] in allowed:
            return
        if reference[:1] == "#" and reference != "#" and reference[1:] not in run.contained():
            run.add("invariant", f"ref-1: there is no contained resource {shown(reference)}", at, "reference")
            return
        kind = evident_type(reference, run)
        if kind is not None:
            if not is_resource_type(kind):
                run.add("value", f"{shown(kind)} is no type of resource in R4", at, "reference")
            elif allowed and kind not in allowed:
                run.add("value", f"a reference to {kind} cannot stand here, only to {', '.join(targets)}", at, "reference")
        elif allowed and "type" in value:
            _check_declared(value, at, run)

    def _check_declared(value: Any, at: At, run: Run) -> None:
        kind = value["type"]
        if type(kind) is str and is_resource_type(kind) and kind not in allowed:
            run.add("value", f"a reference to {kind} cannot stand here, only to {', '.join(targets)}", at, "type")

    return check
