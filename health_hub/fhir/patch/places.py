"""Places in a resource: reading and changing an element by its JSON way, with its `_name` twin."""

from typing import Any

Keys = tuple[str | int, ...]


def at(resource: Any, keys: Keys) -> Any:
    for key in keys:
        resource = resource[key]
    return resource


def put_single(parent: dict[str, Any], old: str | None, name: str, value: Any, ext: Any) -> None:
    """Set `name`; in the place of `old` where there was one, so that the order of properties stays."""
    fresh = {k: v for k, v in ((name, value), ("_" + name, ext)) if v is not None}
    gone = {old, f"_{old}"} if old is not None else set()
    out: dict[str, Any] = {}
    for key, v in parent.items():
        if key in gone:
            out.update(fresh)
        else:
            out[key] = v
    out.update(fresh)
    parent.clear()
    parent.update(out)


def arrays(parent: dict[str, Any], name: str) -> tuple[list[Any], list[Any]]:
    """Values and extensions of an array, of one length (R4 json.html#primitive)."""
    values, beside = list(parent.get(name) or ()), list(parent.get("_" + name) or ())
    length = max(len(values), len(beside))
    return values + [None] * (length - len(values)), beside + [None] * (length - len(beside))


def put_arrays(parent: dict[str, Any], name: str, values: list[Any], beside: list[Any]) -> None:
    """Write both back; what says nothing is left out."""
    for key, items in ((name, values), ("_" + name, beside)):
        if any(x is not None for x in items):
            parent[key] = items
        else:
            parent.pop(key, None)


def remove(resource: dict[str, Any], keys: Keys) -> None:
    """Remove an element, and every element that it leaves empty: FHIR has no empty objects and arrays."""
    while keys:
        if isinstance(keys[-1], int):
            parent, name = at(resource, keys[:-2]), str(keys[-2])
            values, beside = arrays(parent, name)
            del values[keys[-1]], beside[keys[-1]]
            put_arrays(parent, name, values, beside)
            keys = keys[:-2]
        else:
            parent, name = at(resource, keys[:-1]), keys[-1]
            parent.pop(name, None)
            if name[0] != "_":
                parent.pop("_" + name, None)
            keys = keys[:-1]
        if parent or not keys:
            return
