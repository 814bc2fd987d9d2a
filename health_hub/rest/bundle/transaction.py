"""transaction: all entries of a Bundle, or none, in one commit (R4 http.html#trules).

What does not depend on the database is done once: entries read, names and links collected. What does is an attempt: conditions
asked, identities settled, links filled, everything validated, one commit. When others change what a condition matched,
the attempt is made again.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.validate import check
from health_hub.rest.bundle import answer
from health_hub.rest.bundle.conditional import Afterwards, Condition, Conditions, resolve_references, several
from health_hub.rest.bundle.entry import Entry, Unreadable, entries, read, version_of
from health_hub.rest.bundle.names import Links, Names
from health_hub.rest.bundle.pace import Pace
from health_hub.rest.bundle.reads import Reads
from health_hub.rest.hub import Hub
from health_hub.rest.request import Request
from health_hub.rest.respond import Response
from health_hub.rest.write import patch_of
from health_hub.store.model import Change, Expect, ExpectationChanged, Result, Stored

TURNS = 10
_ORDER = {"delete": 0, "create": 1, "update": 2, "patch": 2}


async def transaction(hub: Hub, request: Request, bundle: dict[str, Any]) -> Response:
    work = Transaction(hub, request)
    await work.read(bundle)
    for turn in range(TURNS):
        try:
            return await work.attempt()
        except ExpectationChanged:
            await asyncio.sleep(0.005 * turn)
    raise FhirError(409, Issue("conflict", "others keep changing what this transaction matches; try again"), [("Retry-After", "1")])


@dataclass(slots=True)
class Plan:
    """What one attempt found out. Lists are by entry."""

    targets: list[str | None]  # `Type/id` of what the entry creates, changes or matched
    changes: list[tuple[Entry, Change]] = field(default_factory=list)
    expects: list[Expect] = field(default_factory=list)
    matched: dict[int, Stored] = field(default_factory=dict)  # conditional creates that found their resource
    written: dict[int, tuple[str, str]] = field(default_factory=dict)
    deleted: set[tuple[str, str]] = field(default_factory=set)
    own_versions: bool = False  # some if_version is ours, not the client's


class Transaction:
    """One transaction Bundle on its way into the store."""

    def __init__(self, hub: Hub, request: Request) -> None:
        self._hub, self._request = hub, request
        self._entries: list[Entry] = []
        self._links = Links()
        self._conditions = Conditions(hub, request)
        self._condition_of: dict[int, Condition] = {}
        self._same: dict[int, int] = {}
        self._ids: dict[int, str] = {}
        self._pace = Pace()
        self._checked = False
        self._reads: Reads

    # --- once

    async def read(self, bundle: dict[str, Any]) -> None:
        """Entries, names, links and conditions. FhirError 400 with everything that is wrong with them."""
        issues: list[Issue] = []
        for index, raw in enumerate(entries(bundle, self._hub.settings.bundle_entries)):
            try:
                self._entries.append(read(raw, index, self._request.base))
            except Unreadable as e:
                issues += e.issues
            if self._pace.due():
                await self._pace.rest()
        if issues:
            raise FhirError(400, issues)
        names = Names(self._entries, self._request.base)
        issues += names.duplicates
        self._reads = Reads(self._hub, self._request, self._entries)
        issues += self._reads.issues
        for entry in self._entries:
            try:
                self._condition(entry)
            except FhirError as e:
                issues += e.issues
            if entry.kind in ("create", "update"):
                assert entry.resource is not None
                self._links.collect(entry, entry.resource, names.seen_from(entry))
            if self._pace.due():
                await self._pace.rest()
        for text, uses in self._links.searches.items():
            entry, slot, search = uses[0]
            try:
                self._conditions.want((search.type, search.query), f"{entry.at}.resource.{self._links.path(entry, slot)}")
            except FhirError as e:
                issues += [Issue(i.code, f"{text}: {i.diagnostics}", i.expression) for i in e.issues]
        issues += self._overlaps()
        if issues:
            raise FhirError(400, issues + self._links.issues)
        self._names = names

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
            if entry.kind not in _ORDER:
                continue
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

    async def attempt(self) -> Response:
        self._conditions.forget()
        self._pace = Pace()
        plan = Plan([None] * len(self._entries))
        if self._condition_of:
            await self._conditions.ask(self._limit() + 1)
        self._identify(plan)
        patched = await self._patch(plan)
        issues = self._links.issues + await self._link(plan, patched)
        issues_status = (412 if all(i.code == "multiple-matches" for i in issues) else 400) if issues else 0
        if not self._checked or patched:
            status, more = await self._check(plan)
            issues, issues_status = issues + more, issues_status or status
        if issues:
            raise FhirError(issues_status, issues)
        self._checked = True
        await self._reads.before(plan.written.values(), plan.deleted)
        results = await self._commit(plan)
        return await self._answer(plan, results)

    def _limit(self) -> int:
        settings = self._hub.settings
        return settings.conditional_delete_max if settings.conditional_delete == "multiple" else 1

    def _identify(self, plan: Plan) -> None:
        """Which resource each entry is about; changes in the standard's order DELETE, POST, PUT and PATCH."""
        for entry in sorted((e for e in self._entries if e.kind in _ORDER), key=lambda e: _ORDER[e.kind]):
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
                change.id = claimed or self._ids.setdefault(entry.index, self._hub.store.new_id())
        _if_match(entry, change)
        self._write(plan, entry, change)

    def _write(self, plan: Plan, entry: Entry, change: Change) -> None:
        assert change.id is not None
        plan.changes.append((entry, change))
        plan.targets[entry.index] = f"{change.type}/{change.id}"
        plan.written[entry.index] = (change.type, change.id)

    async def _patch(self, plan: Plan) -> list[tuple[Entry, Change]]:
        """Patches applied to the current versions, which the commit then expects."""
        patches = [(n, entry, change) for n, (entry, change) in enumerate(plan.changes) if entry.kind == "patch"]
        if not patches:
            return []
        wanted = [(change.type, change.id or "") for _, _, change in patches]
        current = await self._hub.view(self._request).read_many(wanted)
        for (n, entry, change), stored in zip(patches, current, strict=True):
            if stored is None or stored.deleted:
                status, code, what = (404, "not-found", "not known") if stored is None else (410, "deleted", "deleted")
                raise FhirError(status, Issue(code, f"{change.type}/{change.id} is {what}", (f"{entry.at}.request.url",)))
            headers = {"content-type": "application/fhir+json"}
            if "ifMatch" in entry.request:
                headers["if-match"] = entry.request["ifMatch"]
            by_hand = Request.make("PATCH", f"{stored.type}/{stored.id}", base=self._request.base, headers=headers, resource=entry.resource)
            try:
                plan.changes[n] = (entry, await patch_of(self._hub, by_hand, stored))
            except FhirError as e:
                raise FhirError(e.status, [_within(entry, i) for i in e.issues]) from None
            plan.own_versions = True
            if self._pace.due():
                await self._pace.rest()
        return [plan.changes[n] for n, _, _ in patches]

    async def _link(self, plan: Plan, patched: list[tuple[Entry, Change]]) -> list[Issue]:
        """Every reference and link filled with what it names now."""
        extra = Links()
        for entry, change in patched:
            assert change.resource is not None
            # What was stored before names nothing of this Bundle, except by the urns the patch brought in.
            extra.collect(entry, change.resource, self._names.urns)
        issues: list[Issue] = list(extra.issues)
        for links in (self._links, extra):
            for uses in links.searches.values():
                entry, slot, search = uses[0]
                self._conditions.want((search.type, search.query), f"{entry.at}.resource.{links.path(entry, slot)}")
        await self._conditions.ask(2 + len(plan.deleted) + len(plan.written) if self._links.searches or extra.searches else 2)
        after = Afterwards(change for _, change in plan.changes)
        versions = await self._versions(plan, self._links.versioned | extra.versioned)
        for links in (self._links, extra):
            found, more = resolve_references(links, self._conditions, after)
            issues += more
            links.fill(plan.targets, versions, found)
            if self._pace.due():
                await self._pace.rest()
        return issues

    async def _versions(self, plan: Plan, indexes: set[int]) -> dict[int, int]:
        """The versions that version-specific references will name: entry index -> version, expected by the commit."""
        if not indexes:
            return {}
        order = sorted(indexes)
        wanted = [_split(plan.targets[i]) for i in order]
        current = await self._hub.view(self._request).read_many(wanted)
        versions: dict[int, int] = {}
        changes = {entry.index: change for entry, change in plan.changes}
        for i, stored in zip(order, current, strict=True):
            version = stored.version if stored is not None else 0
            change = changes.get(i)
            if change is not None:
                if change.action == "update" and change.if_version is None:
                    change.if_version = version if stored is not None and not stored.deleted else 0
                    plan.own_versions = True
                version += 1
            versions[i] = version
        return versions

    async def _check(self, plan: Plan) -> tuple[int, list[Issue]]:
        """Everything that is to be written, validated; all problems of all entries."""
        status, issues = 0, []
        for entry, change in plan.changes:
            if change.resource is not None:
                try:
                    check(change.resource)
                except FhirError as e:
                    status = status or e.status
                    issues += [_within(entry, i) for i in e.issues]
                if self._pace.due():
                    await self._pace.rest()
        return status, issues

    async def _commit(self, plan: Plan) -> list[Result]:
        if not plan.changes and not plan.expects:
            return []
        try:
            results: list[Result] = await self._hub.store.commit([change for _, change in plan.changes], plan.expects)
        except FhirError as e:
            # A version that only we expected has moved on: no fault of the client's.
            if e.status == 412 and plan.own_versions:
                raise ExpectationChanged from None
            raise FhirError(e.status, [_placed(plan, i) for i in e.issues], e.headers) from None
        return results

    async def _answer(self, plan: Plan, results: list[Result]) -> Response:
        answers = answer.Answers(self._hub, self._request)
        out: list[bytes] = [b""] * len(self._entries)
        gone: dict[int, list[Stored]] = {}
        for (entry, _), result in zip(plan.changes, results, strict=True):
            if entry.kind == "delete":
                gone.setdefault(entry.index, []).append(result.stored)
            else:
                out[entry.index] = answers.written(201 if result.created else 200, result.stored)
        for index, versions in gone.items():
            out[index] = answers.written(204, versions[0]) if len(versions) == 1 else answers.many(versions)
        left = [e for e in self._entries if e.kind == "create" and not out[e.index]]
        if left:
            found = await self._hub.view(self._request).read_many([_split(plan.targets[e.index]) for e in left])
            for entry, stored in zip(left, found, strict=True):
                out[entry.index] = answers.written(200, stored) if stored is not None else answers.nothing()
        for index, body in (await self._reads.after(answers)).items():
            out[index] = body
        return Response(200, json=answer.bundle("transaction-response", (body or answers.nothing() for body in out)), subset_done=True)


def _twice(entry: Entry, other: Entry, name: str) -> Issue:
    return Issue("duplicate", f"{name} is in this transaction twice: entries {other.index} and {entry.index}", (f"{entry.at}.request.url",))


def _split(name: str | None) -> tuple[str, str]:
    type_name, _, id_ = (name or "").partition("/")
    return type_name, id_


def _if_match(entry: Entry, change: Change) -> None:
    """ifMatch, and `ifNoneMatch: *` on PUT, as a condition of the commit."""
    wanted = entry.request.get("ifMatch")
    if wanted is not None and wanted.strip() == "*":
        change.may_create = False
    elif wanted is not None:
        change.if_version = version_of(wanted, entry.at, "ifMatch")
    elif entry.kind == "update" and entry.request.get("ifNoneMatch", "").strip() == "*":
        change.if_version = 0


def _within(entry: Entry, issue: Issue) -> Issue:
    """An issue of a resource, told from the Bundle's root: `Patient.name[0]` -> `Bundle.entry[3].resource.name[0]`."""
    inside = [
        e[len(entry.type) :] if e.startswith(entry.type + ".") else f".{e}" if e and e != entry.type else "" for e in issue.expression
    ]
    at = f"{entry.at}.resource"
    return Issue(issue.code, issue.diagnostics, tuple(at + e for e in inside) or (at,), issue.severity)


def _placed(plan: Plan, issue: Issue) -> Issue:
    """An issue of the store, which names a resource, told with the entry that is about it."""
    name = issue.diagnostics.partition(": ")[0]
    at = tuple(f"{entry.at}.request" for entry, change in plan.changes if f"{change.type}/{change.id}" == name)
    return Issue(issue.code, issue.diagnostics, issue.expression or at, issue.severity)
