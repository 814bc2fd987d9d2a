"""FHIRPath Patch (R4 fhirpatch.html): add, insert, delete, replace and move, told by a Parameters resource."""

from collections.abc import Callable
from typing import Any

from fhir_profiles import tables
from health_hub.fhir.fhirpath import FHIRPathError, Node, compile_, refusal
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.patch import places
from health_hub.fhir.patch.parameters import Operation, operations
from health_hub.fhir.patch.tree import Budget
from health_hub.fhir.patch.values import Given, element_of, fitting


def fhirpath_patch(resource: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """The resource after all operations, in order; none is applied if one fails. The outcome is still to be validated."""
    budget = Budget()
    after: dict[str, Any] = budget.copied(resource)
    steps = STEPS
    for operation in operations(parameters):
        patch = _Patch(after, operation, budget, steps)
        patch.apply()
        steps = patch.steps
    return after


# Of all paths of one patch together: below a second. An operation on a usual resource takes 10 to 100.
STEPS = 500_000


class _Patch:
    def __init__(self, resource: dict[str, Any], operation: Operation, budget: Budget, steps: int) -> None:
        self.steps = steps
        self.resource = resource
        self.operation = operation
        self.budget = budget

    def apply(self) -> None:
        _ACTS[self.operation.type](self)

    def refused(self, why: str) -> FhirError:
        o = self.operation
        return FhirError(422, Issue("processing", f"{o.type} at {o.path[:200]!r}: {why}", (o.where,)))

    def nodes(self) -> list[Node]:
        """What the path finds within the resource."""
        path = self.operation.path
        try:
            expression = compile_(path)
            # Reading a path costs time too: about what 4 steps a character take.
            ctx = expression.context(self.resource, steps=self.steps - 4 * len(path))
            found = expression.run(ctx)
        except FHIRPathError as e:
            raise refusal(e, path) from None
        self.steps = ctx.left
        for item in found:
            top = item
            while top.__class__ is Node and top.parent is not None:
                top = top.parent
            if top.__class__ is not Node or top.value is not self.resource:
                raise self.refused("the path must find elements of the resource itself")
        return found

    def single(self) -> Node:
        found = self.nodes()
        if len(found) != 1:
            raise self.refused(f"the path must find one element, it finds {len(found) or 'none'}")
        return found[0]

    def whole_list(self) -> tuple[dict[str, Any], str, tables.Element, list[Any], list[Any]]:
        """The array a path names, by all its elements: parent, JSON name, definition, values, extensions."""
        found = self.nodes()
        if not found:
            raise self.refused("the path finds no element")
        first = found[0]
        if first.parent is None or first.index < 0:
            raise self.refused("the path finds no list")
        parent = self.parent(first)
        values, beside = places.arrays(parent, first.name)
        if len(found) != len(values) or any(n.parent is None or n.parent.keys != first.parent.keys or n.name != first.name for n in found):
            raise self.refused("the path must find a whole list, and only one")
        element = tables.type_(first.parent.type).elements[first.name]
        return parent, first.name, element, values, beside

    def given(self, element: tables.Element) -> Given:
        """The operation's value, of a type that fits the element."""
        try:
            return fitting(self.operation.value, element, self.budget)
        except ValueError as e:
            raise self.refused(str(e)) from None

    # The five operations

    def add(self) -> None:
        node, name = self.single(), self.operation.name
        if node.value.__class__ is not dict:
            self.add_to_primitive(node, name)
            return
        parent = node.value
        element = element_of(node.type, name, self.operation.value)
        if element is None:
            raise self.refused(f"{node.type} has no element {name[:60]!r} of this type")
        given = self.given(element)
        if element.array:
            values, beside = places.arrays(parent, element.name)
            places.put_arrays(parent, element.name, [*values, given.json], [*beside, given.ext])
            return
        others = tables.type_(node.type).choices.get(element.path_name, {}).values() if element.choice else (element.name,)
        for other in others:
            if other in parent or "_" + other in parent:
                raise self.refused(f"{node.path}.{element.path_name} is there already; use replace")
        places.put_single(parent, None, element.name, given.json, given.ext)

    def add_to_primitive(self, node: Node, name: str) -> None:
        """`extension` or `id` of a primitive: they stand in its `_name` twin."""
        if node.parent is None or tables.type_(node.type).kind != "primitive":
            raise self.refused("nothing can be added there")
        element = element_of("Element", name, self.operation.value)
        if element is None:
            raise self.refused(f"a primitive has extension and id, no {name[:60]!r}")
        given = self.given(element)
        ext: dict[str, Any] = dict(node.ext or {})
        if element.array:
            ext[element.name] = [*ext.get(element.name, ()), given.json]
        elif element.name in ext:
            raise self.refused(f"{node.path}.{element.name} is there already; use replace")
        else:
            ext[element.name] = given.json
        parent = self.parent(node)
        if node.index < 0:
            places.put_single(parent, node.name, node.name, node.value, ext)
        else:
            values, beside = places.arrays(parent, node.name)
            beside[node.index] = ext
            places.put_arrays(parent, node.name, values, beside)

    def insert(self) -> None:
        parent, name, element, values, beside = self.whole_list()
        index = self.operation.number("index")
        if index > len(values):
            raise self.refused(f"index {index} is beyond the list of {len(values)}")
        given = self.given(element)
        values.insert(index, given.json)
        beside.insert(index, given.ext)
        places.put_arrays(parent, name, values, beside)

    def delete(self) -> None:
        found = self.nodes()
        if len(found) > 1:
            raise self.refused(f"the path finds {len(found)} elements; one can be deleted at a time")
        if found and found[0].parent is None:
            raise self.refused("the resource itself cannot be deleted by a patch")
        if found:
            places.remove(self.resource, self.keys(found[0]))

    def keys(self, node: Node) -> places.Keys:
        """The way to a node in JSON; below a primitive it goes through the `_name` twin."""
        if node.parent is None:
            return ()
        above = self.keys(node.parent)
        if tables.type_(node.parent.type).kind == "primitive":
            above = (*above[:-2], f"_{above[-2]}", above[-1]) if isinstance(above[-1], int) else (*above[:-1], f"_{above[-1]}")
        return (*above, node.name, node.index) if node.index >= 0 else (*above, node.name)

    def parent(self, node: Node) -> dict[str, Any]:
        """The object that holds the node's property."""
        keys = self.keys(node)
        found: dict[str, Any] = places.at(self.resource, keys[:-2] if node.index >= 0 else keys[:-1])
        return found

    def replace(self) -> None:
        node = self.single()
        if node.parent is None:
            raise self.refused("the resource itself cannot be replaced by a patch; use update")
        parent = self.parent(node)
        definition = tables.type_(node.parent.type)
        element = definition.elements[node.name]
        if element.choice:
            # value[x] may change its type.
            element = element_of(node.parent.type, element.path_name, self.operation.value) or element
        given = self.given(element)
        if node.index < 0:
            places.put_single(parent, node.name, element.name, given.json, given.ext)
        else:
            values, beside = places.arrays(parent, node.name)
            values[node.index], beside[node.index] = given.json, given.ext
            places.put_arrays(parent, node.name, values, beside)

    def move(self) -> None:
        parent, name, _, values, beside = self.whole_list()
        source, destination = self.operation.number("source"), self.operation.number("destination")
        if max(source, destination) >= len(values):
            raise self.refused(f"source {source} and destination {destination} must be within the list of {len(values)}")
        for items in (values, beside):
            items.insert(destination, items.pop(source))
        places.put_arrays(parent, name, values, beside)


_ACTS: dict[str, Callable[[_Patch], None]] = {
    "add": _Patch.add,
    "insert": _Patch.insert,
    "delete": _Patch.delete,
    "replace": _Patch.replace,
    "move": _Patch.move,
}
