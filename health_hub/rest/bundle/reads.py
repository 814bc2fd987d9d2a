"""GET, HEAD and searches in a transaction: they see the state after its writes, and what cannot succeed stops the whole beforehand."""

from collections.abc import Iterable

from health_hub.fhir.outcome import FhirError, Issue
from health_hub.rest.bundle.answer import Answers
from health_hub.rest.bundle.entry import Entry
from health_hub.rest.hub import Hub
from health_hub.rest.request import Request
from health_hub.rest.table import find

_HEADERS = {"ifNoneMatch": "if-none-match", "ifModifiedSince": "if-modified-since", "ifMatch": "if-match", "ifNoneExist": "if-none-exist"}


def by_hand(request: Request, entry: Entry) -> Request:
    """The request that an entry asks for, with the headers that hold for all of them."""
    headers = {_HEADERS[name]: value for name, value in entry.request.items() if name in _HEADERS}
    if "if-modified-since" in headers:
        headers["if-modified-since"] = http_date(headers["if-modified-since"])
    if (prefer := request.header(b"prefer")) is not None:
        headers["prefer"] = prefer.replace("respond-async", "")
    body = entry.resource
    if entry.kind == "search":
        headers["content-type"] = "application/x-www-form-urlencoded"
    elif body is not None:
        headers["content-type"] = "application/fhir+json"
    return Request.make(entry.method, entry.url, base=request.base, headers=headers, resource=body, client=request.client,
                        access=request.access)


def http_date(instant: str) -> str:
    """Bundle.entry.request.ifModifiedSince is an instant, the header a date of HTTP."""
    from datetime import UTC, datetime
    from email.utils import format_datetime

    try:
        moment = datetime.fromisoformat(instant)
    except ValueError:
        return instant
    return format_datetime((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC), usegmt=True)


class Reads:
    """The reading entries of one transaction."""

    def __init__(self, hub: Hub, request: Request, entries: Iterable[Entry]) -> None:
        self._hub, self._request = hub, request
        self._entries: list[Entry] = []
        self._alone = True
        self.issues: list[Issue] = []
        for entry in entries:
            if entry.kind in ("get", "search", "operation"):
                self._entries.append(entry)
                if entry.kind == "operation" and not _reads(entry):
                    why = f"{entry.url}: an operation that changes something cannot be undone, so it has no place in a transaction"
                    self.issues.append(Issue("not-supported", why, (f"{entry.at}.request.url",)))
            else:
                self._alone = False

    async def before(self, written: Iterable[tuple[str, str]], deleted: set[tuple[str, str]]) -> None:
        """Before the commit: what will fail afterwards fails now, while nothing is done yet."""
        if self._alone:
            return
        here = set(written)
        for entry in self._entries:
            key = (entry.type, entry.id or "")
            if key in here:
                continue
            if key in deleted and entry.url == f"{entry.type}/{entry.id}":
                raise FhirError(410, Issue("deleted", f"{entry.url} is deleted by this transaction", (f"{entry.at}.request.url",)))
            await self._interact(entry, None)

    async def after(self, answers: Answers) -> dict[int, bytes]:
        """The answers by entry. Without writes, a read that fails is the transaction's failure; after them it is told in its entry."""
        out: dict[int, bytes] = {}
        for entry in self._entries:
            try:
                out[entry.index] = await self._interact(entry, answers)
            except FhirError as e:
                if self._alone:
                    raise
                out[entry.index] = answers.refused(e)
        return out

    async def _interact(self, entry: Entry, answers: Answers | None) -> bytes:
        request = by_hand(self._request, entry)
        try:
            response = await self._hub.interact(request)
        except FhirError as e:
            where = (f"{entry.at}.request.url",)
            raise FhirError(e.status, [Issue(i.code, f"{entry.url}: {i.diagnostics}", where, i.severity) for i in e.issues]) from None
        return answers.response(request, response) if answers is not None else b""


def _reads(entry: Entry) -> bool:
    path = entry.url.partition("?")[0].rstrip("/").split("/")
    name = path[-1].removeprefix("$")
    found = find("system", "", name) if len(path) == 1 else find("type" if len(path) == 2 else "instance", entry.type, name)
    return found is None or found.reads  # an unknown one is refused with its own words
