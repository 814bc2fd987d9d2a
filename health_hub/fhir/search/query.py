"""What a search asks for, as data: the parser makes it, the store turns it into SQL (R4 search.html)."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from fhir_profiles.tables import SearchParam

Prefix = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
MICROSECOND_MIN, MICROSECOND_MAX = -(2**62), 2**62  # open ends of a period


@dataclass(frozen=True, slots=True)
class StringValue:
    text: str


@dataclass(frozen=True, slots=True)
class TokenValue:
    """`code` (any system): system None. `|code` (no system): system "". `system|`: code None. With :of-type: `value` too."""

    system: str | None
    code: str | None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class DateValue:
    """Microseconds since 1970 UTC, `high` inclusive: the whole day, month or second that was written.

    `ap` is already widened by the parser (10% of the gap to today): a match is any overlap with low..high.
    """

    prefix: Prefix
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class NumberValue:
    """`low` inclusive, `high` exclusive: half a unit of the last written digit around `value` (eq, ne); `ap` 10% (overlap)."""

    prefix: Prefix
    value: Decimal
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class QuantityValue:
    """`system` None: any; "": the code may stand in `code` or `unit`. `code` None: any unit."""

    number: NumberValue
    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class ReferenceValue:
    """`Type/id` (type and id), bare `id` (type None), or `url` (absolute or canonical, `version` after `|`)."""

    type: str | None
    id: str | None
    url: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class UriValue:
    text: str


@dataclass(frozen=True, slots=True)
class CompositeValue:
    parts: tuple["Value", ...]


@dataclass(frozen=True, slots=True)
class NearValue:
    latitude: float
    longitude: float
    km: float


Value = StringValue | TokenValue | DateValue | NumberValue | QuantityValue | ReferenceValue | UriValue | CompositeValue | NearValue


@dataclass(frozen=True, slots=True)
class Test:
    """One parameter; any of `values` may match. Modifier :missing has `missing` and no values.

    modifier: None, "exact", "contains", "text", "not", "above", "below", "in", "not-in", "of-type", "identifier",
    "missing"; `:[type]` is folded into the ReferenceValue. `_id`, `_lastUpdated`, `_tag`, `_profile`, `_security`,
    `_source`, `_text`, `_content`, `_list` are Tests as well; `_type` narrows Query.types. Value kinds: :text of a token is a
    StringValue, :in/:not-in a UriValue, :identifier a TokenValue, `_list` a ReferenceValue ("List", id), a compartment is
    code "_compartment" with ReferenceValues. With several types the definition is the first type's; the code counts.
    `_filter` also asks of strings "equals" (whole value, folded), "ends", "gt", "ge", "lt", "le" (order of folded text).
    """

    param: SearchParam
    modifier: str | None
    values: tuple[Value, ...] = ()
    missing: bool | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """`param` refers to a resource of one of `types` that meets `where`. `param[:type].rest`."""

    param: SearchParam
    types: tuple[str, ...]
    where: "Node"


@dataclass(frozen=True, slots=True)
class Has:
    """A resource of `type` that meets `where` refers to this one by `param`. `_has:type:param:rest`."""

    type: str
    param: SearchParam
    where: "Node"


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: "Node"


Node = Test | Chain | Has | And | Or | Not


@dataclass(frozen=True, slots=True)
class Include:
    """`_include`/`_revinclude=source:param[:target]`; param None is `*`."""

    source: str
    param: SearchParam | None
    target: str | None
    iterate: bool
    reverse: bool


@dataclass(frozen=True, slots=True)
class Sort:
    """One `_sort` key. `_id`, `_lastUpdated`, `_score` come as their SearchParam or, for _score, None."""

    param: SearchParam | None
    descending: bool


@dataclass(slots=True)
class Query:
    """A whole search. `types` empty: every type. `where` conditions are ANDed."""

    types: tuple[str, ...]
    where: tuple[Node, ...] = ()
    includes: tuple[Include, ...] = ()
    sort: tuple[Sort, ...] = ()
    count: int | None = None
    total: Literal["none", "estimate", "accurate"] | None = None
    summary: Literal["true", "text", "data", "count", "false"] | None = None
    elements: tuple[str, ...] = ()
    contained: Literal["false", "true", "both"] = "false"
    # name=value pairs as understood, in order, for the self link; what was not, with why, for lenient handling.
    understood: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[tuple[str, str]] = field(default_factory=list)
