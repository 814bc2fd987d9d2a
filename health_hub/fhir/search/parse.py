"""Name and value pairs of a search to a Query: all of R4 search.html. Nothing here touches the database.

What was compiled for a name on given types is kept, so a usual search costs a dictionary look-up and one value each. After
search parameters change, call `forget()`.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import tzinfo

from fhir_profiles import tables
from fhir_profiles.tables import SearchParam
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.search import result
from health_hub.fhir.search.filter import parse_filter
from health_hub.fhir.search.path import Build, ByUrl, Lookup, Unknown, compile_name
from health_hub.fhir.search.query import Query, ReferenceValue, Test
from health_hub.fhir.search.split import MAX_PAIRS
from health_hub.fhir.search.values import DAY, Context

MAX_TEXT = 1 << 20
MAX_CONDITIONS = 100
MAX_COUNT = 1000
MAX_ISSUES = 50

COMPARTMENT = SearchParam("", "_compartment", ("Resource",), "reference")

_builds: dict[tuple[tuple[str, ...], str], Build] = {}
_contexts: dict[tuple[tzinfo, str], Context] = {}


def forget() -> None:
    """Drop what was compiled, after search parameters changed."""
    _builds.clear()
    result.forget()


def parse(
    types: tuple[str, ...],
    pairs: Sequence[tuple[str, str]],
    *,
    strict: bool,
    zone: tzinfo,
    base: str = "",
    lookup: Lookup = tables.search_params,
    by_url: ByUrl = tables.search_param_by_url,
    compartment: tuple[str, str] | None = None,
    now: int | None = None,
    max_count: int = MAX_COUNT,
) -> Query:
    """A search of `types` (none: every type), as a Query.

    pairs: decoded names and values in order. strict: an unknown parameter is an error, else it goes to Query.ignored; a bad
    value or modifier always is. zone: of dates without offset. base: own base URL, whose references are local ones.
    lookup, by_url: the definitions, with those added at run time (one pair of functions for a process; see forget()).
    compartment: ("Patient", "1") for `Patient/1/Observation`; with no types, every member type.
    now: microseconds since 1970 for `ap`, rounded down to a day so that the pages of one search agree.

    Raises FhirError 400 with one issue for each problem, naming the parameter and the reason.
    """
    context = _context(zone, base, now)
    query = Query(types)
    issues: list[Issue] = []
    if len(pairs) > MAX_PAIRS:
        raise FhirError(400, Issue("too-costly", f"the search has more than {MAX_PAIRS} parameters"))
    if compartment is not None:
        _enter(query, compartment)
    for name, text in pairs:
        if name == "_type":
            try:
                query.types = result.read_types(query.types, text)
            except ValueError as e:
                raise FhirError(400, _issue(name, f"{e}", "value")) from None
    wishes: result.Wishes | None = None
    where = list(query.where)
    for name, text in pairs:
        try:
            if not text.isascii() or "\0" in text:
                _check_text(text)
            build = _builds.get((query.types, name))
            if build is not None and text:
                where.append(build(text, context))
                query.understood.append((name, text))
                continue
            if name in result.QUIET:
                continue
            if not text.strip():
                # R4 does not say; leaving the condition out quietly could show far too much.
                raise Unknown("has no value")
            setter = result.SETTERS.get(name)
            if setter is not None:
                if wishes is None:
                    wishes = result.Wishes(query, lookup, max_count)
                understood = setter(text, wishes)
                if understood:
                    query.understood.append((name, understood))
                continue
            if name == "_type":
                pass
            elif name == "_filter":
                try:
                    where.append(parse_filter(query.types, text, lookup, by_url, context))
                except Unknown as e:
                    raise ValueError(f"a name in it {e}") from None
            else:
                build = _build(query.types, name, lookup, by_url)
                where.append(build(text, context))
            query.understood.append((name, text))
        except Unknown as e:
            query.ignored.append((name, str(e)))
        except ValueError as e:
            issues.append(_issue(name, f"{e}", "value"))
            if len(issues) >= MAX_ISSUES:
                break
    if len(where) > MAX_CONDITIONS:
        issues.append(Issue("too-costly", f"the search has more than {MAX_CONDITIONS} conditions"))
    if query.includes:
        try:
            result.check(query)
        except ValueError as e:
            issues.append(_issue("_summary", str(e), "value"))
    if strict:
        issues += [_issue(name, why, "not-supported") for name, why in query.ignored[:MAX_ISSUES]]
    if issues:
        raise FhirError(400, issues)
    query.where = tuple(where)
    return query


def _context(zone: tzinfo, base: str, now: int | None) -> Context:
    """Kept while its day lasts."""
    if now is None:
        now = time.time_ns() // 1000
    today = now - now % DAY
    context = _contexts.get((zone, base))
    if context is None or context.today != today:
        if len(_contexts) >= 64:
            _contexts.clear()
        context = _contexts[zone, base] = Context(zone, base.rstrip("/"), today)
    return context


def _build(types: tuple[str, ...], name: str, lookup: Lookup, by_url: ByUrl) -> Build:
    build = compile_name(types, name, lookup, by_url)
    # Names are the client's: what a hostile one invents must not fill the memory.
    if len(name) <= 200 and len(types) <= 20:
        if len(_builds) >= 8192:
            _builds.clear()
        _builds[types, name] = build
    return build


def _enter(query: Query, compartment: tuple[str, str]) -> None:
    name, identity = compartment
    if name not in tables.compartments():
        raise FhirError(400, Issue("not-supported", f"there is no compartment of {name}; there are {', '.join(tables.compartments())}"))
    members: Mapping[str, object] = tables.compartment(name)
    for type_ in query.types:
        if type_ != name and type_ not in members:
            raise FhirError(400, Issue("not-supported", f"{type_} is not in the compartment of a {name}"))
    if not query.types:
        query.types = tuple(t for t in tables.RESOURCE_TYPES if t in members or t == name)
    query.where = (Test(COMPARTMENT, None, (ReferenceValue(name, identity),)),)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("a NUL character is not allowed")
    if len(text) > MAX_TEXT:
        raise ValueError(f"it is longer than {MAX_TEXT} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair is not allowed") from None


def _issue(name: str, why: str, code: str) -> Issue:
    shown = name if len(name) <= 100 else name[:100] + "..."
    shown = shown.encode("ascii", "backslashreplace").decode()
    return Issue(code, f"parameter {shown}: {why}", (f"http.{shown}",))
