"""Walking the tree (FHIRPath N1, 5.8)."""

from fhir_profiles.fhirpath.context import Context
from fhir_profiles.fhirpath.node import Node, all_children
from fhir_profiles.fhirpath.registry import Items, values


@values("children")
def children(ctx: Context, items: Items) -> Items:
    out: Items = []
    for item in items:
        if item.__class__ is Node:
            all_children(item, out)
            ctx.spend(8)
    ctx.spend(len(out))
    return out


@values("descendants")
def descendants(ctx: Context, items: Items) -> Items:
    """Every element below, level by level (as repeat(children()), without comparing content)."""
    out: Items = []
    todo = items
    while todo:
        todo = children(ctx, todo)
        out += todo
    return out
