"""Which resource each entry of a transaction is about, and what is to become of it (R4 http.html#trules).

Once: conditions parsed, resources named twice refused. Each attempt: what the conditions matched turned into a Plan, changes
in the standard's order DELETE, POST, PUT and PATCH.
"""

from dataclasses import dataclass, field

from health_hub.fhir.outcome import FhirError, Issue
from health_hub.rest.bundle.conditional import Condition, Conditions, several
from health_hub.rest.bundle.entry import Entry, version_of
from health_hub.rest.hub import Hub
from health_hub.store.model import Change, Expect

_ORDER = {"delete": 0, "create": 1, "update": 2, "patch": 2}


@dataclass(slots=True)
class Plan:
    """What one attempt found out. Lists are by entry."""

    targets: list[str | None]  # `Type/id` of what the entry creates, changes or matched
    changes: list[tuple[Entry, Change]] = field(default_factory=list)
    expects: list[Expect] = field(default_factory=list)
    written: dict[int, tuple[str, str]] = field(default_factory=dict)
    deleted: set[tuple[str, str]] = field(default_factory=set)
    own_versions: bool = False  # some if_version is ours, not the client's


class Identities:
    """The writing entries of one transaction."""

    def __init__(self, hub: Hub, conditions: Conditions) -> None:
        self._hub, self._conditions = hub, conditions
        self._entries: list[Entry] = []
        self._condition_of: dict[int, Condition] = {}
        self._same: dict[int, int] = {}
        self._ids: dict[int, str] = {}

    # --- once

    def read(self, entries: list[Entry]) -> list[Issue]:
        """Parses conditions; gives every problem that needs no database to be seen."""
        self._entries = sorted((e for e in entries if e.kind in _ORDER), key=lambda e: _ORDER[e.kind])
        issues: list[Issue] = []
        for entry in self._entries:
            try:
                self._condition(entry)
            except FhirError as e:
                issues += e.issues
        return issues + self._overlaps()

    def _condition(self, entry: Entry) -> None:
        text = entry.query if entry.kind in ("update", "patch", "delete") and entry.id is None else None
        where = f"{entry.at}.request.url"
        if entry.kind == "create" and entry.if_none_exist is not None:
            # Some clients write `Type?` before the query.
            text, where = entry.if_none_exist.partition("?")[2] or entry.if_none_exist, f"{entry.at}.request.ifNoneExist"
        if text is not None:
            self._condition_of[entry.index] = (entry.type, text)
            self._conditions.want((entry.type, text), where)

    def _overlaps(self) -> list[Issue]:
        """Resources named twice, and two conditional creates that would create the same."""
        issues: list[Issue] = []
        by_name: dict[str, Entry] = {}
        by_condition: dict[Condition, Entry] = {}
        for entry in self._entries:
            name = entry.reference
            if name is not None:
                if name in by_name:
                    issues.append(_twice(entry, by_name[name], name))
                by_name[name] = entry
            elif entry.kind == "create" and (wanted := self._condition_of.get(entry.index)) is not None:
                other = by_condition.setdefault(wanted, entry)
                if other is not entry and other.resource == entry.resource:
                    # Done one after the other, the second would find what the first made.
                    self._same[entry.index] = other.index
                elif other is not entry:
                    why = f"entry {other.index} creates another resource under the same condition"
                    issues.append(Issue("duplicate", why, (f"{entry.at}.request.ifNoneExist",)))
        return issues

    # --- an attempt

    async def plan(self, entries: int) -> Plan:
        """Asks the conditions and settles every identity."""
        plan = Plan([None] * entries)
        if self._condition_of:
            await self._conditions.ask(self._limit() + 1)
        self._identify(plan)
        return plan

    def _limit(self) -> int:
        settings = self._hub.settings
        return settings.conditional_delete_max if settings.conditional_delete == "multiple" else 1

    def _identify(self, plan: Plan) -> None:
        """Changes and targets of every entry."""
        for entry in self._entries:
            wanted = self._condition_of.get(entry.index)
            if entry.kind == "delete":
                self._delete(plan, entry, wanted)
            elif entry.kind == "create":
                self._create(plan, entry, wanted)
            else:
                self._update(plan, entry, wanted)
        for index, other in self._same.items():
            plan.targets[index] = plan.targets[other]
        named: dict[tuple[str, str], Entry] = {}
        for entry, change in plan.changes:
            assert change.id is not None
            key = (change.type, change.id)
            if key in named:
                raise FhirError(400, _twice(entry, named[key], f"{change.type}/{change.id}"))
            named[key] = entry

    def _delete(self, plan: Plan, entry: Entry, wanted: Condition | None) -> None:
        ids: tuple[str, ...] = (entry.id or "",)
        if wanted is not None:
            ids, limit = self._conditions.ids(wanted), self._limit()
            if len(ids) > limit:
                raise several(entry, wanted[1], ids)
            if len(ids) < 2:
                plan.expects.append(self._conditions.expect(wanted))
        for id_ in ids:
            change = Change("delete", entry.type, id_, method="DELETE")
            if len(ids) == 1:
                _if_match(entry, change)
            plan.changes.append((entry, change))
            plan.deleted.add((entry.type, id_))

    def _create(self, plan: Plan, entry: Entry, wanted: Condition | None) -> None:
        if entry.index in self._same:
            return
        if wanted is not None:
            found = self._conditions.ids(wanted)
            if len(found) > 1:
                raise several(entry, wanted[1], found)
            plan.expects.append(self._conditions.expect(wanted))
            if found and (entry.type, found[0]) not in plan.deleted:
                plan.targets[entry.index] = f"{entry.type}/{found[0]}"
                return
        id_ = self._ids.get(entry.index)
        if id_ is None:
            id_ = self._ids[entry.index] = self._hub.store.new_id()
        self._write(plan, entry, Change("create", entry.type, id_, entry.resource, method="POST"))

    def _update(self, plan: Plan, entry: Entry, wanted: Condition | None) -> None:
        assert entry.resource is not None
        change = Change("update", entry.type, entry.id, entry.resource, method=entry.method)
        if wanted is not None:
            ids = self._conditions.ids(wanted)
            if len(ids) > 1:
                raise several(entry, wanted[1], ids)
            plan.expects.append(self._conditions.expect(wanted))
            claimed = entry.resource.get("id") if entry.kind == "update" else None
            if ids:
                if claimed is not None and claimed != ids[0]:
                    why = f"{entry.type}?{wanted[1]} matches {ids[0]!r}, the resource says {claimed!r}"
                    raise FhirError(400, Issue("value", why, (f"{entry.at}.resource.id",)))
                change.id, change.may_create = ids[0], False
            elif entry.kind == "patch":
                raise FhirError(404, Issue("not-found", f"{entry.type}?{wanted[1]} matches nothing to patch", (f"{entry.at}.request.url",)))
            elif "ifMatch" in entry.request:
                why = "nothing matches, so there is no version that ifMatch could mean"
                raise FhirError(412, Issue("conflict", why, (f"{entry.at}.request.ifMatch",)))
            else:
                # Something else under the claimed id is not what was meant: the store says 409.
                change.action = "create"
                change.chosen = claimed is not None
                change.id = claimed or self._ids.setdefault(entry.index, self._hub.store.new_id())
        _if_match(entry, change)
        self._write(plan, entry, change)

    def _write(self, plan: Plan, entry: Entry, change: Change) -> None:
        assert change.id is not None
        plan.changes.append((entry, change))
        plan.targets[entry.index] = f"{change.type}/{change.id}"
        plan.written[entry.index] = (change.type, change.id)


def _twice(entry: Entry, other: Entry, name: str) -> Issue:
    return Issue("duplicate", f"{name} is in this transaction twice: entries {other.index} and {entry.index}", (f"{entry.at}.request.url",))


def _if_match(entry: Entry, change: Change) -> None:
    """ifMatch, and `ifNoneMatch: *` on PUT, as a condition of the commit."""
    wanted = entry.request.get("ifMatch")
    if wanted is not None and wanted.strip() == "*":
        change.may_create = False
    elif wanted is not None:
        change.if_version = version_of(wanted, entry.at, "ifMatch")
    elif entry.kind == "update" and entry.request.get("ifNoneMatch", "").strip() == "*":
        change.if_version = 0
