"""JSON Patch (RFC 6902) with JSON Pointers (RFC 6901)."""

import re
from collections.abc import Callable
from typing import Any

from health_hub.fhir.outcome import FhirError, Issue, bad_request
from health_hub.fhir.patch.tree import Budget, equal

MAX_OPERATIONS = 10_000
MAX_STEPS = 100  # of a pointer

_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_BAD_ESCAPE = re.compile(r"~(?![01])")

Steps = tuple[str, ...]


def json_patch(document: Any, operations: Any) -> Any:
    """The document after all operations, in order; none is applied if one fails."""
    if not isinstance(operations, list):
        raise bad_request("a JSON Patch is an array of operations", "structure")
    if len(operations) > MAX_OPERATIONS:
        raise bad_request(f"a JSON Patch has at most {MAX_OPERATIONS} operations", "too-costly")
    budget = Budget()
    # The root stands in a holder so that "" is a place like any other.
    holder: dict[str, Any] = {"": budget.copied(document)}
    for number, operation in enumerate(operations):
        _Operation(number, operation, holder, budget).apply()
    return holder[""]


class _Operation:
    def __init__(self, number: int, operation: Any, holder: dict[str, Any], budget: Budget) -> None:
        self.number = number
        self.holder = holder
        self.budget = budget
        if not isinstance(operation, dict):
            raise self.malformed("is not an object")
        self.members = operation

    def malformed(self, why: str) -> FhirError:
        return bad_request(f"JSON Patch operation {self.number}: {why}")

    def refused(self, why: str) -> FhirError:
        return FhirError(422, Issue("processing", f"JSON Patch operation {self.number} ({self.members.get('op')}): {why}"))

    def apply(self) -> None:
        op = self.members.get("op")
        act = _ACTS.get(op) if isinstance(op, str) else None
        if act is None:
            raise self.malformed(f"op must be one of {', '.join(_ACTS)}, not {str(op)[:40]!r}")
        act(self)

    def pointer(self, member: str) -> Steps:
        text = self.members.get(member)
        if not isinstance(text, str):
            raise self.malformed(f"{member} must be a JSON Pointer")
        if text and text[0] != "/":
            raise self.malformed(f"{member} {text[:100]!r} must be empty or begin with /")
        if _BAD_ESCAPE.search(text):
            raise self.malformed(f"{member} {text[:100]!r} has a ~ that is neither ~0 nor ~1")
        steps = tuple(s.replace("~1", "/").replace("~0", "~") for s in text.split("/"))
        if len(steps) > MAX_STEPS:
            raise self.malformed(f"{member} has more than {MAX_STEPS} steps")
        return steps

    def value(self) -> Any:
        if "value" not in self.members:
            raise self.malformed("value is missing")
        return self.budget.copied(self.members["value"])

    def parent(self, steps: Steps) -> Any:
        """The object or array that holds the place."""
        at: Any = self.holder
        for i, step in enumerate(steps[:-1]):
            at = self.read(at, step, steps[: i + 1])
        if at.__class__ is not dict and at.__class__ is not list:
            raise self.refused(f"{_text(steps[:-1])} has no members")
        return at

    def read(self, at: Any, step: str, steps: Steps) -> Any:
        if at.__class__ is dict:
            if step not in at:
                raise self.refused(f"{_text(steps)} does not exist")
            return at[step]
        if at.__class__ is list:
            return at[self.index(at, step, steps, len(at) - 1)]
        raise self.refused(f"{_text(steps)} does not exist")

    def index(self, at: list[Any], step: str, steps: Steps, most: int) -> int:
        if not _INDEX.fullmatch(step):
            raise self.refused(f"{_text(steps)}: {step[:40]!r} is not an index of an array")
        if int(step) > most:
            raise self.refused(f"{_text(steps)} does not exist: the array has {len(at)} items")
        return int(step)

    def put(self, steps: Steps, value: Any) -> None:
        at, step = self.parent(steps), steps[-1]
        if at.__class__ is dict:
            at[step] = value
        else:
            at.insert(len(at) if step == "-" else self.index(at, step, steps, len(at)), value)

    def take(self, steps: Steps) -> Any:
        at, step = self.parent(steps), steps[-1]
        found = self.read(at, step, steps)
        if steps == ("",):
            at[step] = None
        elif at.__class__ is dict:
            del at[step]
        else:
            del at[int(step)]
        return found

    # The six operations

    def add(self) -> None:
        self.put(self.pointer("path"), self.value())

    def remove(self) -> None:
        self.take(self.pointer("path"))

    def replace(self) -> None:
        steps, value = self.pointer("path"), self.value()
        at = self.parent(steps)
        self.read(at, steps[-1], steps)
        if at.__class__ is dict:
            at[steps[-1]] = value
        else:
            at[int(steps[-1])] = value

    def move(self) -> None:
        source, target = self.pointer("from"), self.pointer("path")
        if len(source) < len(target) and target[: len(source)] == source:
            raise self.refused("a value cannot move into itself")
        if source == target:
            self.read(self.parent(source), source[-1], source)
            return
        self.put(target, self.take(source))

    def copy(self) -> None:
        source, target = self.pointer("from"), self.pointer("path")
        self.put(target, self.budget.copied(self.read(self.parent(source), source[-1], source)))

    def test(self) -> None:
        steps, value = self.pointer("path"), self.value()
        if not equal(self.read(self.parent(steps), steps[-1], steps), value):
            raise self.refused(f"{_text(steps)} has another value")


def _text(steps: Steps) -> str:
    return ("/".join(s.replace("~", "~0").replace("/", "~1") for s in steps) or "the document")[:200]


_ACTS: dict[str, Callable[[_Operation], None]] = {
    "add": _Operation.add,
    "remove": _Operation.remove,
    "replace": _Operation.replace,
    "move": _Operation.move,
    "copy": _Operation.copy,
    "test": _Operation.test,
}
