"""One generated function for each resource type: every element is looked at once, whatever the number of its parameters."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from fhir_profiles import tables
from fhir_profiles.fhirpath import Expression
from health_hub.fhir import keys
from health_hub.fhir.index import composite, emit, registry
from health_hub.fhir.index.emit import PRESENT, Emit, Sink
from health_hub.fhir.index.path import Branch, Step, is_true
from health_hub.fhir.index.plans import Plans, plans

# Compartment parameters that say whom a resource is about; the others (performer, author, payor, recipient) say who had a part in it.
SUBJECT = frozenset(("subject", "patient", "actor", "beneficiary", "individual", "member", "link"))
# About a Patient though R4's CompartmentDefinition leaves them out; for access, not for compartment searches.
BESIDE = {"Task": ("subject",), "Device": ("patient",), "Contract": ("subject",), "GuidanceResponse": ("patient",)}


@dataclass(slots=True)
class _Node:
    """A place in the resource: what to write for an element found here, and where to go on."""

    emits: list[Emit] = field(default_factory=list)
    steps: dict[Step, "_Node"] = field(default_factory=dict)

    def at(self, steps: tuple[Step, ...]) -> "_Node":
        node = self
        for step in steps:
            node = node.steps.setdefault(step, _Node())
        return node


@dataclass(frozen=True, slots=True)
class Program:
    """fast: the generated function. slow: emitters that take the whole resource, for parameters in full FHIRPath."""

    fast: Emit
    slow: tuple[Emit, ...]


@cache
def program(resource_type: str) -> Program:
    stored = plans(resource_type)
    tree = _Node()
    slow: list[Emit] = []
    for source in stored.sources.values():
        if isinstance(source.ways, Expression):
            slow.append(_by_fhirpath(source.ways, partial(emit.emitter, source.target(resource_type))))
            continue
        for branch in source.ways:
            write = emit.emitter(source.target(resource_type, branch), branch.type)
            if write:
                tree.at(branch.steps).emits.append(_truth(branch, write) if branch.truth else write)
    for plan, param in stored.composites.values():
        ways = registry.ways(param, resource_type)
        if isinstance(ways, Expression):
            slow.append(composite.emitter_of_nodes(plan, param, ways))
        else:
            for branch in ways:
                tree.at(branch.steps).emits.append(composite.emitter(plan, param, branch.type))
    for steps, places in _compartments(resource_type, stored).items():
        subject = any(name == "Patient" and code in SUBJECT for code, name, _ in places)
        tree.at(steps).emits.append(emit.compartments(tuple(dict.fromkeys((name, p) for _, name, p in places)), subject))
    for code in BESIDE.get(resource_type, ()):
        ways = registry.ways(registry.params(resource_type)[code], resource_type)
        assert isinstance(ways, tuple)
        for branch in ways:
            tree.at(branch.steps).emits.append(emit.person)
    return Program(_generate(resource_type, tree), tuple(slow))


registry.on_change(program.cache_clear)


def _truth(branch: Branch, write: Emit) -> Emit:
    return lambda x, sink: write(is_true(x, branch.truth), sink)


def _compartments(resource_type: str, stored: Plans) -> dict[tuple[Step, ...], list[tuple[str, str, int]]]:
    """(parameter, compartment, p) by where they are found."""
    found: dict[tuple[Step, ...], list[tuple[str, str, int]]] = {}
    for name in tables.compartments():
        p = keys.parameter(resource_type, "_compartment")
        for code in tables.compartment(name).get(resource_type, ()):
            param = registry.params(resource_type).get(code)
            ways = registry.ways(param, resource_type) if param and param.expression else ()
            for branch in ways if isinstance(ways, tuple) else ():
                if branch.type == "Reference" and (not branch.only or name in branch.only):
                    found.setdefault(branch.steps, []).append((code, name, p))
    return found


def _by_fhirpath(expression: Expression, emitter: Callable[[str], Emit | None]) -> Emit:
    of: Callable[[str], Emit | None] = cache(emitter)

    # Without a hook resolve() gives a stand-in of the type that the reference evidently points to.
    def values(resource: Any, sink: Sink) -> None:
        for node in expression.nodes(resource, steps=registry.STEPS):
            _write(node.type, node.value, of, sink)

    return values


_COMPUTED = {
    "System.String": "string", "System.Boolean": "boolean", "System.Integer": "integer", "System.Decimal": "decimal",
    "System.Date": "date", "System.DateTime": "dateTime",
}  # fmt: skip


def _write(name: str, value: Any, of: Callable[[str], Emit | None], sink: Sink) -> None:
    if value is None:
        return
    if name == "Extension":
        for key, element in tables.type_("Extension").choices["value"].items():
            if element in value:
                _write(key, value[element], of, sink)
        return
    if name in _COMPUTED:
        name, value = _COMPUTED[name], str(value) if name in ("System.Date", "System.DateTime") else value
    if tables.is_resource_type(name):
        name = "Resource"
    write = of(name)
    if write:
        write(value, sink)


class _Writer:
    """Source code of the function, with the emitters it calls as its globals."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {}
        self.count = 0

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def name(self, letter: str, value: Any = None) -> str:
        self.count += 1
        name = f"{letter}{self.count}"
        if value is not None:
            self.names[name] = value
        return name

    def node(self, node: _Node, var: str, depth: int) -> None:
        for write in node.emits:
            self.line(depth, f"{self.name('f', write)}({var}, s)")
        for step, below in node.steps.items():
            self.step(step, below, var, depth)

    def step(self, step: Step, below: _Node, var: str, depth: int) -> None:
        if step.kind == "where":
            self.line(depth, f"if {var}.get({step.name!r}) == {step.text!r}:")
            self.node(below, var, depth + 1)
        elif step.kind == "extended":
            self.line(depth, f"if any(e.get('url') == {step.text!r} for e in {var}.get('extension', ())):")
            self.node(below, var, depth + 1)
        elif step.array:
            # Where an index follows, it takes from the whole array; anything else from its items.
            taken = self.name("v")
            self.line(depth, f"{taken} = {var}.get({step.name!r})")
            self.line(depth, f"if {taken}:")
            for inner, node in below.steps.items():
                if inner.kind == "index":
                    item = self.name("v")
                    self.line(depth + 1, f"for {item} in {taken}[{inner.at}:{inner.at + 1}]:")
                    self.node(node, item, depth + 2)
            items = _Node(below.emits, {s: n for s, n in below.steps.items() if s.kind != "index"})
            if items.emits or items.steps:
                item = self.name("v")
                self.line(depth + 1, f"for {item} in {taken}:")
                self.line(depth + 2, f"if {item} is not None:")
                self.node(items, item, depth + 3)
            else:
                self.line(depth + 1, "pass")
        else:
            taken = self.name("v")
            self.line(depth, f"{taken} = {var}.get({step.name!r})")
            self.line(depth, f"if {taken} is not None:")
            self.node(below, taken, depth + 1)


def _generate(resource_type: str, tree: _Node) -> Emit:
    w = _Writer()
    w.line(0, "def extract(r, s):")
    w.line(1, f"s.keys.append({keys.parameter(resource_type, '_type') ^ PRESENT})")
    if resource_type in tables.compartments():
        own = keys.parameter(resource_type, "_compartment")
        w.names["reference"] = keys.reference
        w.line(1, "if r.get('id'):")
        w.line(2, f"own = reference({resource_type + '/'!r} + r['id'])")
        w.line(2, f"s.keys.append({own} ^ own)")
        if resource_type == "Patient":
            w.line(2, "s.persons.append(own)")
    w.node(tree, "r", 1)
    # The source is made of element names and numbers from the tables; texts of definitions enter it as literals.
    exec(compile("\n".join(w.lines), f"<index of {resource_type}>", "exec"), w.names)  # noqa: S102
    found: Emit = w.names["extract"]
    return found
