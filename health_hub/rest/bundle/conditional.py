"""Everything of a transaction that is named by a search, asked for in few statements (R4 http.html#trules, "Conditional References").

Entries: conditional create, update, patch, delete. References: `Practitioner?identifier=...`, resolved as the state will be
after the transaction's own writes, so they may name what the same Bundle creates.
"""

from collections.abc import Iterable

from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.search.query import Query
from health_hub.fhir.search.split import split_query
from health_hub.rest.bundle.entry import Entry
from health_hub.rest.bundle.match import Pool
from health_hub.rest.bundle.names import Links
from health_hub.rest.bundle.pace import Pace
from health_hub.rest.conditional import condition
from health_hub.rest.hub import Hub
from health_hub.rest.request import Request
from health_hub.store.model import Change, Expect

_BATCH = 500  # searches in one call of the store
Condition = tuple[str, str]  # resource type, query text


class Conditions:
    """The searches of one transaction, each parsed once and asked once an attempt."""

    def __init__(self, hub: Hub, request: Request) -> None:
        self._hub = hub
        self._request = request
        self._queries: dict[Condition, Query] = {}
        self._found: dict[Condition, tuple[str, ...]] = {}

    def want(self, wanted: Condition, expression: str) -> None:
        """Parse a condition; FhirError 400 names `expression`, where it is written."""
        if wanted not in self._queries:
            type_name, text = wanted
            try:
                pairs = split_query(text.encode("utf-8", "surrogateescape"))
                self._queries[wanted] = condition(self._hub, self._request, type_name, pairs)
            except FhirError as e:
                issues = [Issue(i.code, f"{type_name}?{text[:200]}: {i.diagnostics}", (expression,), i.severity) for i in e.issues]
                raise FhirError(e.status, issues) from None

    def forget(self) -> None:
        """Before another attempt: what was found no longer counts."""
        self._found = {}

    async def ask(self, limit: int) -> None:
        """The ids of every condition not asked yet, at most `limit` of each."""
        wanted = [key for key in self._queries if key not in self._found]
        view = self._hub.view(self._request, "s")
        for at in range(0, len(wanted), _BATCH):
            part = wanted[at : at + _BATCH]
            found = await view.find([self._queries[key] for key in part], limit)
            self._found.update(zip(part, map(tuple, found), strict=True))

    def ids(self, wanted: Condition) -> tuple[str, ...]:
        return self._found[wanted]

    def query(self, wanted: Condition) -> Query:
        return self._queries[wanted]

    def expect(self, wanted: Condition) -> Expect:
        """What the commit checks again under a lock."""
        return Expect(self._queries[wanted], self._found[wanted], self._hub.view(self._request, "s").filter)


def several(entry: Entry, text: str, ids: Iterable[str]) -> FhirError:
    """R4: a condition that more than one resource meets is not selective enough, 412."""
    some = ", ".join(list(ids)[:3])
    why = f"{entry.type}?{text[:200]} matches several resources ({some}, ...)"
    return FhirError(412, Issue("multiple-matches", why, (f"{entry.at}.request",)))


class Afterwards:
    """What conditional references will match once the transaction's writes are done."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self._touched: set[tuple[str, str | None]] = set()
        self._pools: dict[str, Pool] = {}
        for change in changes:
            self._touched.add((change.type, change.id))
            if change.resource is not None and change.id is not None:
                self._pools.setdefault(change.type, Pool(change.type)).add(change.id, change.resource)

    def match(self, type_name: str, query: Query, ids: Iterable[str]) -> list[str]:
        """Ids of those in the store that stay as they are, and those of the Bundle that match."""
        kept = [i for i in ids if (type_name, i) not in self._touched]
        pool = self._pools.get(type_name)
        return kept + pool.find(query) if pool is not None else kept


async def resolve_references(links: Links, conditions: Conditions, after: Afterwards, pace: Pace) -> tuple[dict[str, str], list[Issue]]:
    """text -> `Type/id` for every conditional reference, and an issue for each that names none or several."""
    found: dict[str, str] = {}
    issues: list[Issue] = []
    for text, uses in links.searches.items():
        search = uses[0][2]
        key = (search.type, search.query)
        ids = after.match(search.type, conditions.query(key), conditions.ids(key))
        if pace.due():
            await pace.rest()
        if len(ids) == 1:
            found[text] = f"{search.type}/{ids[0]}"
            continue
        code, many = ("multiple-matches", "several resources") if ids else ("not-found", "no resource")
        for entry, slot, _ in uses:
            issues.append(Issue(code, f"{text[:200]} matches {many}", (f"{entry.at}.resource.{links.path(entry, slot)}",)))
    return found, issues
