"""transaction: all entries of a Bundle, or none, in one commit (R4 http.html#trules).

What does not depend on the database is done once: entries read, names and links collected. What does is an attempt: conditions
asked, identities settled, links filled, everything validated, one commit. When others change what a condition matched,
the attempt is made again.
"""

import asyncio
from typing import Any

from health_hub.fhir.outcome import FhirError, Issue
from health_hub.fhir.validate import check
from health_hub.rest.bundle import answer
from health_hub.rest.bundle.conditional import Afterwards, Conditions, resolve_references
from health_hub.rest.bundle.entry import Entry, Unreadable, entries, read
from health_hub.rest.bundle.identify import Identities, Plan
from health_hub.rest.bundle.names import Links, Names
from health_hub.rest.bundle.pace import Pace
from health_hub.rest.bundle.reads import Reads
from health_hub.rest.hub import Hub, not_granted
from health_hub.rest.request import Request
from health_hub.rest.respond import Response
from health_hub.rest.write import patch_of
from health_hub.store.model import Change, ExpectationChanged, Result, Stored

TURNS = 10
ISSUES = 1000  # most problems one answer names


async def transaction(hub: Hub, request: Request, bundle: dict[str, Any]) -> Response:
    work = Transaction(hub, request)
    await work.read(bundle)
    for turn in range(TURNS):
        try:
            return await work.attempt()
        except ExpectationChanged:
            await asyncio.sleep(0.005 * turn)
    raise FhirError(409, Issue("conflict", "others keep changing what this transaction matches; try again"), [("Retry-After", "1")])


class Transaction:
    """One transaction Bundle on its way into the store."""

    def __init__(self, hub: Hub, request: Request) -> None:
        self._hub, self._request = hub, request
        self._entries: list[Entry] = []
        self._links = Links()
        self._conditions = Conditions(hub, request)
        self._identities = Identities(hub, self._conditions)
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
            raise FhirError(400, told(issues))
        names = Names(self._entries, self._request.base)
        issues += names.duplicates
        self._reads = Reads(self._hub, self._request, self._entries)
        issues += self._reads.issues + self._identities.read(self._entries)
        for entry in self._entries:
            if entry.kind in ("create", "update"):
                assert entry.resource is not None
                self._links.collect(entry, entry.resource, names.seen_from(entry))
            if self._pace.due():
                await self._pace.rest()
        for uses in self._links.searches.values():
            entry, slot, search = uses[0]
            try:
                self._conditions.want((search.type, search.query), f"{entry.at}.resource.{self._links.path(entry, slot)}")
            except FhirError as e:
                issues += [Issue(i.code, i.diagnostics, i.expression) for i in e.issues]
        if issues:
            raise FhirError(400, told(issues + self._links.issues))
        self._names = names

    # --- an attempt

    async def attempt(self) -> Response:
        self._conditions.forget()
        self._pace = Pace()
        plan = await self._identities.plan(len(self._entries))
        await self._vet_matches(plan)
        patched = await self._patch(plan)
        issues = self._links.issues + await self._link(plan, patched)
        issues_status = (412 if all(i.code == "multiple-matches" for i in issues) else 400) if issues else 0
        if not self._checked or patched:
            status, more = await self._check(plan)
            issues, issues_status = issues + more, issues_status or status
        if issues:
            raise FhirError(issues_status, told(issues))
        self._checked = True
        await self._reads.before(plan.written.values(), plan.deleted)
        results = await self._commit(plan)
        return await self._answer(plan, results)

    async def _vet_matches(self, plan: Plan) -> None:
        """FhirError 403 for what a conditional create or patch matched and the sender may find, but not read."""
        changed = {entry.index for entry, _ in plan.changes}
        for entry in self._entries:
            shown = (entry.kind == "create" and entry.index not in changed) or (entry.kind == "patch" and entry.id is None)
            target = plan.targets[entry.index] if shown else None
            if target is not None and await self._hub.only_found(self._request, *_split(target)):
                refusal = not_granted(entry.type, "r")
                raise FhirError(403, [Issue(i.code, i.diagnostics, (f"{entry.at}.request",)) for i in refusal.issues], refusal.headers)

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
            by_hand = Request.make("PATCH", f"{stored.type}/{stored.id}", base=self._request.base, headers=headers, resource=entry.resource,
                                   access=self._request.access)
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
            found, more = await resolve_references(links, self._conditions, after, self._pace)
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
            results: list[Result] = await self._hub.commit(self._request, [change for _, change in plan.changes], plan.expects)
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


def told(issues: list[Issue]) -> list[Issue]:
    """The first of them, and how many more there are: an answer stays within bounds however wrong a Bundle is."""
    if len(issues) <= ISSUES:
        return issues
    more = f"{len(issues) - ISSUES} more problems are left out"
    return [*issues[:ISSUES], Issue("incomplete", more, ("Bundle",), "information")]


def _split(name: str | None) -> tuple[str, str]:
    type_name, _, id_ = (name or "").partition("/")
    return type_name, id_


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
