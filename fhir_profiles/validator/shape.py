"""What an object of a type may hold, compiled from the tables when the type is first met, and the walk over a value.

The walk does one dict lookup a property. Which properties were there is kept as a bit set; cardinality, "only one of
value[x]" and every invariant that asks only for presence are then one more lookup of that set among the sets met before.
"""

import difflib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from fhir_profiles.tables import Element, Type, is_resource_type, type_
from fhir_profiles.validator.bindings import check_code, check_concept
from fhir_profiles.validator.invariants import Rule, rules_of
from fhir_profiles.validator.primitives import CHECKS, json_type
from fhir_profiles.validator.problems import At, Check, Run, Wrong, shown
from fhir_profiles.validator.references import check_reference

After = Callable[[Any, At, Run], None]  # what is checked on a value beyond its type
# (kind, bit, check of a primitive or Shape, path name, After or None)
Field = tuple[int, int, Any, str, After | None]
# (issue type, message, path name below the object or "") for a set of present properties
Verdict = tuple[tuple[str, str, str], ...]

PRIMITIVE, PRIMITIVES, OBJECT, OBJECTS, COMPANION, COMPANIONS, RESOURCE, RESOURCES, TYPE_NAME = range(9)
_MAX_VERDICTS = 4096  # a client that sends every combination must not fill the memory


class Shape:
    """The properties of one type. Built when first used: types refer to each other in circles."""

    __slots__ = ("choices", "element", "fields", "heavy", "light", "name", "required", "verdicts", "warnings")

    def __init__(self, name: str) -> None:
        self.name = name
        self.fields: dict[str, Field] = {}
        self.verdicts: dict[int, Verdict] = {}
        self.required: list[tuple[int, str]] = []
        self.choices: list[tuple[int, str, dict[int, str]]] = []
        self.light: list[Rule] = []
        self.heavy: tuple[Rule, ...] = ()
        self.warnings: tuple[Rule, ...] = ()
        self.element = 0  # the bit of `id` in types whose instances need more than an id (ele-1)

    def check(self, value: dict[str, Any], at: At, run: Run) -> None:
        """Adds to `run` what is wrong with an object, which is not empty, and everything inside it."""
        fields = self.fields or self._build()
        seen = 0
        malformed = run.malformed
        for key, child in value.items():
            try:
                kind, bit, thing, name, after = fields[key]
            except KeyError:
                self._unknown(key, at, run)
                continue
            seen |= bit
            if kind == PRIMITIVE:
                wrong = thing(child)
                if wrong is not None:
                    _wrong_primitive(wrong, at, name, None, run)
                elif after is not None:
                    after(child, (at, name, None), run)
            elif kind == OBJECT:
                if type(child) is dict and child:
                    here: At = (at, name, None)
                    thing.check(child, here, run)
                    if after is not None:
                        after(child, here, run)
                else:
                    _not_object(child, thing.name, at, name, run)
            elif kind == OBJECTS:
                if type(child) is list and child:
                    for i, item in enumerate(child):
                        here = (at, name, i)
                        if type(item) is dict and item:
                            thing.check(item, here, run)
                            if after is not None:
                                after(item, here, run)
                        else:
                            _not_object(item, thing.name, at, name, run, i)
                else:
                    _not_array(child, at, name, run)
            elif kind != TYPE_NAME:
                _SELDOM[kind](value, key, child, thing, name, after, at, run)
        verdict = self.verdicts.get(seen)
        if verdict is None:
            verdict = self._judge(seen)
        for code, message, name in verdict:
            run.add(code, message, at, name)
        if self.heavy and malformed == run.malformed:
            for rule in self.heavy:
                if not rule.holds(value, run):
                    run.add("invariant", rule.message, at)
        if run.warnings and malformed == run.malformed:
            for rule in self.warnings:
                if not rule.holds(value, run):
                    run.add("invariant", rule.message, at, severity="warning")

    def _unknown(self, key: str, at: At, run: Run) -> None:
        hint = ""
        if len(run.problems) < 10 and len(key) < 64:
            near = difflib.get_close_matches(key, self.fields, 1, 0.75)
            hint = f"; is it {near[0]}?" if near else ""
        run.add("structure", f"{self.name} has no element {shown(key)}{hint}", at, key if key.isidentifier() and len(key) < 64 else "")

    def _judge(self, seen: int) -> Verdict:
        """What is wrong with this set of properties."""
        found = [("required", f"{name} is required", name) for mask, name in self.required if not seen & mask]
        for mask, name, names in self.choices:
            given = seen & mask
            if given & (given - 1):
                listed = ", ".join(json_name for bit, json_name in names.items() if given & bit)
                found.append(("structure", f"only one of {listed} can be there", name))
        found += [("invariant", rule.message, "") for rule in self.light if rule.presence and not rule.presence(seen)]
        if seen and seen == self.element:
            found.append(("invariant", "ele-1: an element has a value or children, not only an id", ""))
        verdict = tuple(found)
        if len(self.verdicts) < _MAX_VERDICTS:
            self.verdicts[seen] = verdict
        return verdict

    def _build(self) -> dict[str, Field]:
        definition = type_(self.name)
        fields: dict[str, Field] = {}
        masks: dict[str, int] = {}
        names: dict[str, dict[int, str]] = {}
        for place, element in enumerate(definition.elements.values()):
            bit = 1 << place
            masks[element.path_name] = masks.get(element.path_name, 0) | bit
            if element.choice:
                names.setdefault(element.path_name, {})[bit] = element.name
            fields.update(_fields(element, bit))
        self.required = [(masks[n], n) for n in dict.fromkeys(e.path_name for e in definition.elements.values() if e.min)]
        self.choices = [(masks[n], n, bits) for n, bits in names.items()]
        self._add_rules(definition, masks)
        if definition.kind == "resource":
            fields["resourceType"] = (TYPE_NAME, 0, None, "resourceType", None)
        self.fields = fields
        return fields

    def _add_rules(self, definition: Type, masks: dict[str, int]) -> None:
        rules = rules_of(definition, masks)
        if definition.kind != "resource":
            self.element = masks["id"]
            rules = [r for r in rules if r.key != "ele-1"]
        self.light = [r for r in rules if r.presence and r.error]
        self.heavy = tuple(r for r in rules if not r.presence and r.error)
        self.warnings = tuple(r for r in rules if not r.error)


@cache
def shape(name: str) -> Shape:
    return Shape(name)


def _fields(element: Element, bit: int) -> Iterator[tuple[str, Field]]:
    """The JSON properties of an element: one, and `_name` too if it is a primitive."""
    of, array, name = element.type, element.array, element.path_name
    if of == "Resource":
        yield element.name, (RESOURCES if array else RESOURCE, bit, None, name, None)
        return
    check = CHECKS.get(of)
    if check is not None:
        if element.binding:
            check = check_code(element.binding)
        # The xhtml check is txt-1 and txt-2.
        after = _after_rules(element) if element.invariants and of != "xhtml" else None
        yield element.name, (PRIMITIVES if array else PRIMITIVE, bit, check, name, after)
        yield f"_{element.name}", (COMPANIONS if array else COMPANION, bit, element.name, name, None)
        return
    checks: list[After] = []
    if of == "Reference":
        checks.append(check_reference(element.targets))
    bound = check_concept(element.binding) if element.binding and of == "CodeableConcept" else None
    if bound is not None:
        checks.append(bound)
    if element.invariants:
        checks.append(_after_rules(element))
    yield element.name, (OBJECTS if array else OBJECT, bit, shape(of), name, _all(checks))


def _all(checks: list[After]) -> After | None:
    if len(checks) < 2:
        return checks[0] if checks else None

    def check(value: Any, at: At, run: Run) -> None:
        for one in checks:
            one(value, at, run)

    return check


def _after_rules(element: Element) -> After:
    """Invariants that an element adds to those of its type."""
    rules: list[Rule] | None = None  # needs the type's own definition, which may be this very one

    def check(value: Any, at: At, run: Run) -> None:
        nonlocal rules
        if rules is None:
            rules = rules_of(type_(element.type), {}, element.invariants)
        for rule in rules:
            if rule.error and not rule.holds(value, run):
                run.add("invariant", rule.message, at)

    return check


def _wrong_primitive(wrong: Wrong, at: At, name: str, index: int | None, run: Run) -> None:
    code, message = wrong
    if code == "structure":
        run.malformed += 1
    run.add(code, message, at, name, index)


def _not_object(value: Any, wanted: str, at: At, name: str, run: Run, index: int | None = None) -> None:
    run.malformed += 1
    wrong = "an object is never empty" if value == {} else f"{wanted} is an object in JSON, not {json_type(value)}"
    run.add("structure", wrong, at, name, index)


def _not_array(value: Any, at: At, name: str, run: Run) -> None:
    run.malformed += 1
    wrong = "an array is never empty" if value == [] else f"{name} repeats: an array in JSON, not {json_type(value)}"
    run.add("structure", wrong, at, name)


def _primitives(owner: dict[str, Any], key: str, value: Any, check: Check, name: str, after: After | None, at: At, run: Run) -> None:
    if type(value) is not list or not value:
        return _not_array(value, at, name, run)
    for i, item in enumerate(value):
        if item is None:
            # null keeps the place of an element that has only an id or extensions.
            beside = owner.get(f"_{key}")
            if type(beside) is not list or i >= len(beside) or beside[i] is None:
                run.malformed += 1
                run.add("structure", f"null without an extension at the same place of _{key}", at, name, i)
        else:
            wrong = check(item)
            if wrong is not None:
                _wrong_primitive(wrong, at, name, i, run)
            elif after is not None:
                after(item, (at, name, i), run)


def _companion(owner: dict[str, Any], key: str, value: Any, plain: str, name: str, after: After | None, at: At, run: Run) -> None:
    if type(value) is dict and value:
        _check_companion(value, plain in owner, (at, name, None), run)
    else:
        _not_object(value, f"{key} (id and extension of {plain})", at, name, run)


def _companions(owner: dict[str, Any], key: str, value: Any, plain: str, name: str, after: After | None, at: At, run: Run) -> None:
    if type(value) is not list or not value:
        return _not_array(value, at, name, run)
    values = owner.get(plain)
    beside = values if type(values) is list else [None] * len(value)
    if len(beside) != len(value):
        run.malformed += 1
        run.add("structure", f"{plain} and {key} have not the same number of places", at, name)
        beside = [""] * len(value)  # one problem is enough
    for i, item in enumerate(value):
        has_value = beside[i] is not None
        if type(item) is dict and item:
            _check_companion(item, has_value, (at, name, i), run)
        elif item is not None:
            _not_object(item, f"{key} (id and extension of {plain})", at, name, run, i)
        elif not has_value and plain not in owner:
            run.malformed += 1
            run.add("structure", f"neither {plain} nor {key} has anything at this place", at, name, i)


def _check_companion(value: dict[str, Any], has_value: bool, at: At, run: Run) -> None:
    """The id and extensions of a primitive. With a value an id is enough."""
    if len(value) == 1 and "id" in value:
        wrong = CHECKS["string"](value["id"])
        if wrong is not None:
            _wrong_primitive(wrong, at, "id", None, run)
        elif not has_value:
            run.add("invariant", "ele-1: an element has a value or children, not only an id", at)
    else:
        shape("string").check(value, at, run)


def _resource(owner: dict[str, Any], key: str, value: Any, thing: Any, name: str, after: After | None, at: At, run: Run) -> None:
    if type(value) is dict and value:
        check_resource(value, (at, name, None), run, contained=False)
    else:
        _not_object(value, "a resource", at, name, run)


def _resources(owner: dict[str, Any], key: str, value: Any, thing: Any, name: str, after: After | None, at: At, run: Run) -> None:
    if type(value) is not list or not value:
        return _not_array(value, at, name, run)
    for i, item in enumerate(value):
        if type(item) is dict and item:
            check_resource(item, (at, name, i), run, contained=True)
        else:
            _not_object(item, "a resource", at, name, run, i)


_SELDOM: dict[int, Callable[..., None]] = {
    PRIMITIVES: _primitives,
    COMPANION: _companion,
    COMPANIONS: _companions,
    RESOURCE: _resource,
    RESOURCES: _resources,
}


def check_resource(value: dict[str, Any], at: At, run: Run, *, contained: bool) -> None:
    """A resource inside another: contained in it, or carried by a Bundle or Parameters, where it stands for itself."""
    kind = value.get("resourceType")
    if not is_resource_type(kind):
        run.malformed += 1
        wrong = "resourceType is missing" if kind is None else f"{shown(kind)} is no type of resource in R4"
        run.add("structure" if kind is not None else "required", wrong, at, "resourceType")
        return
    if not contained and not run.entries:
        return
    outer = run.resource, run.root, run.ids, run.malformed
    run.resource = value
    if not contained:
        run.root, run.ids = value, None
    shape(str(kind)).check(value, at, run)
    run.resource, run.root, run.ids, malformed = outer
    if not contained:
        run.malformed = malformed  # the carrier's own invariants do not look inside
