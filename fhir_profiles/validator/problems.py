"""What a validation finds, and the state of one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from fhir_profiles.number import Number

# Where a value stands: (the object it is in, its path name, its index or None). A chain of tuples, because it is
# made for every object and read only when something is wrong.
At: TypeAlias = "tuple[At | None, str, int | None]"

# What is wrong with one value: issue type and message. A check of a primitive gives None for a right one.
Wrong: TypeAlias = tuple[str, str]
Check: TypeAlias = Callable[[Any], Wrong | None]

MAX_PROBLEMS = 200


def shown(value: Any) -> str:
    """A value in a message, shortened."""
    text = bytes(value).decode() if type(value) is Number else repr(value[:100] if type(value) is str else value)
    return text if len(text) <= 80 else text[:77] + "..."


class Problem(NamedTuple):
    """`code` is an issue type, `expression` the FHIRPath of the element."""

    code: str
    severity: str
    message: str
    expression: str


class Enough(Exception):
    """MAX_PROBLEMS are found; the rest is not looked at."""


def path(at: At | None, name: str = "", index: int | None = None) -> str:
    """FHIRPath of a place, `Patient.name[0].family`, or of a property of it."""
    parts = [name if index is None else f"{name}[{index}]"] if name else []
    while at is not None:
        at, name, index = at
        parts.append(name if index is None else f"{name}[{index}]")
    return ".".join(reversed(parts))


class Run:
    """One validation. `resource` is the innermost resource, `root` the one that holds it if it is contained.

    malformed: values of the wrong JSON type so far. An invariant is not evaluated over an element that has such values inside.
    """

    __slots__ = ("entries", "ids", "malformed", "problems", "resource", "root", "warnings")

    def __init__(self, *, entries: bool, warnings: bool) -> None:
        self.entries = entries
        self.warnings = warnings
        self.problems: list[Problem] = []
        self.malformed = 0
        self.resource: dict[str, Any] = {}
        self.root: dict[str, Any] = {}
        self.ids: dict[str, str] | None = None  # of the resources contained in root: id -> type

    def add(self, code: str, message: str, at: At | None, name: str = "", index: int | None = None, severity: str = "error") -> None:
        if len(self.problems) >= MAX_PROBLEMS:
            self.problems.append(Problem("too-costly", "error", f"more than {MAX_PROBLEMS} problems; the rest was not looked at", ""))
            raise Enough
        self.problems.append(Problem(code, severity, message, path(at, name, index)))

    def contained(self) -> dict[str, str]:
        """id -> type of the resources contained in root."""
        if self.ids is None:
            inside = self.root.get("contained")
            self.ids = {
                r["id"]: r["resourceType"]
                for r in (inside if type(inside) is list else ())
                if type(r) is dict and type(r.get("id")) is str and type(r.get("resourceType")) is str
            }
        return self.ids
