"""What extraction gives (Rows) and how each search parameter is stored (Plan); `health_hub.fhir.index` explains both."""

import sys
from dataclasses import dataclass, field

from fhir_profiles.tables import SearchParam

# Flags of an ordered row.
SMALLEST = 1  # the row of its parameter in this resource that an ascending sort goes by
LARGEST = 2  # the one that a descending sort goes by
APART = 4  # found by the parameter, but not by a composite that has it as a part (Observation.value as SampledData)
ORDINAL = 4  # `flags >> ORDINAL` numbers the elements of a composite, from 0

# Open ends of numbers and quantities; finite, so that they pass through JSON and every database.
NUMBER_MIN, NUMBER_MAX = -sys.float_info.max, sys.float_info.max

DateRow = tuple[int, int, int, int]
NumberRow = tuple[int, float, float, int]
QuantityRow = tuple[int, float, float, int, int, int, float, float, int]
StringRow = tuple[int, str, int]
PositionRow = tuple[int, float, float]


RelationRow = tuple[int, int, int, int]  # party, person, since, until (ms)
ConsentRow = tuple[int, int, int, int, str]  # person, since, until (ms), kind, rules


@dataclass(slots=True)
class Rows:
    """Everything search needs to know of one resource.

    keys: sorted and distinct, signed 64 bit. dates: (p, low, high, flags). numbers: (p, low, high, flags).
    quantities: (p, low, high, code, unit, canon, canonical low, canonical high, flags). strings: (p, folded text, flags).
    positions: (p, latitude, longitude).
    persons: keys.reference of the Patients whose record it belongs to: whom it is about, else who had a part in it.
    sensitive: bits of labels.SENSITIVE.
    relations, consents: what the store derives for access (fhir/relations.py, fhir/consent.py); extract() leaves them empty.
    """

    keys: list[int] = field(default_factory=list)
    dates: list[DateRow] = field(default_factory=list)
    numbers: list[NumberRow] = field(default_factory=list)
    quantities: list[QuantityRow] = field(default_factory=list)
    strings: list[StringRow] = field(default_factory=list)
    positions: list[PositionRow] = field(default_factory=list)
    persons: list[int] = field(default_factory=list)
    sensitive: int = 0
    relations: list[RelationRow] = field(default_factory=list)
    consents: list[ConsentRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Direct:
    """Stored under its own `p`. `type` is that of the SearchParam.

    folded: token codes are hashed in lower case. targets: the types a reference may point to, () any.
    typed: references carry T keys; where not, there is one target type and every reference is of it.
    types: the element types it is taken from ("CodeableConcept", "dateTime", "canonical", ...).
    """

    p: int
    code: str
    type: str
    folded: bool = False
    targets: tuple[str, ...] = ()
    typed: bool = False
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Restricted:
    """The references of `of` that point to one of `targets`; nothing of its own is stored."""

    of: Direct
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a composite. apart: rows with the flag APART do not count. of: how the part's values are written and compared."""

    of: "Direct | Union | Restricted"
    type: str
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Composite:
    """rooted: every part stands once on the resource, so it is the AND of `parts`. Else stored element by element under `p`."""

    p: int
    code: str
    parts: tuple[Part, ...]
    rooted: bool


@dataclass(frozen=True, slots=True)
class Union:
    """What any of these finds. Nothing of its own is stored."""

    of: "tuple[Direct | Restricted | Composite, ...]"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the resource row: `id` (_id), `updated` (_lastUpdated), `type` (_type)."""

    name: str


@dataclass(frozen=True, slots=True)
class Words:
    """_text and _content: a whole folded word is a key `p ^ value("w", word)` under any of `p`."""

    p: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Age:
    """Patient?age: by `birthdate`, of those whose `deceased` is not true."""

    birthdate: Direct
    deceased: Direct


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Not a value of the resource: _list and _in ask other resources, _filter and _query are the parser's."""

    param: SearchParam


Plan = Direct | Union | Restricted | Composite | Column | Words | Age | Elsewhere
