"""What extraction depends on besides the resource: the own base URL and the zone of dates without offset."""

from datetime import tzinfo
from functools import lru_cache

from fhir_profiles import tables
from health_hub.fhir import dates, keys, references

zone: tzinfo = dates.ZONE
_base = ""


def set_zone(tz: tzinfo) -> None:
    """The zone of dates without offset; a database has to be reindexed when it changes."""
    global zone
    zone = tz


def the_zone() -> tzinfo:
    """The zone of dates without offset."""
    return zone


def set_base(url: str) -> None:
    """The own base URL: references that begin with it are local."""
    global _base
    _base = url.rstrip("/") + "/" if url else ""
    pointed.cache_clear()


def base() -> str:
    """The own base URL with a slash at its end; empty when it is not known."""
    return _base


def _local(target: str) -> tuple[str, str | None]:
    found = references.literal(target[len(_base) :] if _base and target.startswith(_base) else target)
    if found is None:
        return target, None
    return (target if found.base or found.fragment else found.reference), found.type


def local(target: str) -> str:
    """A reference as it is indexed: `Type/id` without version when it is to this server, else as it stands."""
    return _local(target)[0]


@lru_cache(maxsize=8192)
def pointed(target: str) -> tuple[int, str | None]:
    """The hash of a reference and the type it evidently points to. Cached: subject and encounter repeat within a load."""
    text, name = _local(target)
    return keys.reference(text), name


def type_of(target: str, given: object = None) -> str | None:
    """The type a reference points to, from its URL or else from Reference.type (a name or the URL of a definition)."""
    if found := pointed(target)[1]:
        return found
    name = given.rpartition("/")[2] if isinstance(given, str) else ""
    return name if tables.is_resource_type(name) else None
