"""batch: every entry an interaction of its own, with its own outcome (R4 http.html#brules).

In the standard's order DELETE, POST, PUT and PATCH, GET; within each of these several at a time, which lets the store commit
them in groups.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from health_hub.fhir import references
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.rest.bundle import answer
from health_hub.rest.bundle.entry import Entry, Unreadable, entries, read
from health_hub.rest.bundle.names import Names
from health_hub.rest.bundle.pace import Pace
from health_hub.rest.bundle.reads import by_hand
from health_hub.rest.hub import Hub
from health_hub.rest.request import Request
from health_hub.rest.respond import Response

# Entries under way at once: writes as many as fill a group commit, reads so few that other clients' are not crowded out.
_PHASES = ((64, ("delete",)), (64, ("create",)), (64, ("update", "patch")), (1, ("operation",)), (8, ("get", "search")))

log = logging.getLogger(__name__)


async def batch(hub: Hub, request: Request, bundle: dict[str, Any]) -> Response:
    raw = entries(bundle, hub.settings.bundle_entries)
    answers = answer.Answers(hub, request)
    out: list[bytes] = [answers.nothing()] * len(raw)
    readable: list[Entry] = []
    pace = Pace()
    for index, one in enumerate(raw):
        try:
            readable.append(read(one, index, request.base))
        except Unreadable as e:
            out[index] = answers.refused(FhirError(400, e.issues))
        if pace.due():
            await pace.rest()
    names = Names(readable, request.base)

    failed: list[int] = []

    async def run(entry: Entry) -> None:
        access = request.access.apart() if request.access is not None else None
        try:
            _independent(entry, names)
            made = by_hand(request, entry)
            made.access = access
            out[entry.index] = answers.response(made, await hub.interact(made))
        except FhirError as e:
            if request.access is not None:
                request.access.refused += 1  # the answer as a whole is 200: the trail says so itself
            out[entry.index] = answers.refused(e)
        except Exception:
            if not failed:  # one trace is enough: ten thousand entries seldom fail for ten thousand reasons
                log.exception("batch entry %d failed", entry.index)
            failed.append(entry.index)
            out[entry.index] = answers.refused(FhirError(500, Issue("exception", "the hub failed to handle this entry")))
        finally:
            if request.access is not None and access is not None:
                request.access.join(access)

    for abreast, kinds in _PHASES:
        await _abreast([e for e in readable if e.kind in kinds], run, abreast)
    return Response(200, json=answer.bundle("batch-response", out), subset_done=True)


async def _abreast(items: list[Entry], run: Callable[[Entry], Awaitable[None]], abreast: int) -> None:
    """A few at a time, in order; those for one resource one after the other, so that the same Bundle does the same each time."""
    chains: dict[str, list[Entry]] = {}
    for entry in items:
        name = f"{entry.type}/{entry.id}" if entry.id else entry.if_none_exist or entry.query or f"#{entry.index}"
        chains.setdefault(name, []).append(entry)
    left = iter(chains.values())

    async def work() -> None:
        for chain in left:
            for entry in chain:
                await run(entry)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(abreast, len(chains))):
            group.create_task(work())


def _independent(entry: Entry, names: Names) -> None:
    """References to what another entry creates cannot be followed in a batch: that is what a transaction is for."""
    if entry.kind not in ("create", "update") or entry.resource is None:
        return
    found, _, _ = references.slots(entry.resource, names.urns)
    issues = [
        Issue(
            "not-supported",
            f"{slot[2]} is another entry; the entries of a batch stand alone, a transaction resolves references between them",
            (f"{entry.at}.resource.{references.path(entry.resource, slot)}",),
        )
        for slot in found
        if references.split(slot[2])[0] in names.urns
    ]
    if issues:
        raise FhirError(400, issues)
