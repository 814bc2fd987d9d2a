"""The response Bundle of a batch or transaction, written entry by entry as bytes: documents are copied, never parsed again."""

import base64
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus

from health_hub.fhir.json import dumps
from health_hub.fhir.outcome import FhirError, Issue, outcome
from health_hub.rest.hub import Hub
from health_hub.rest.request import Request
from health_hub.rest.respond import Response
from health_hub.store.model import Stored

_STATUS = {s.value: f"{s.value} {s.phrase}".encode() for s in HTTPStatus}


class Answers:
    """Builds the entries of one response Bundle."""

    def __init__(self, hub: Hub, request: Request) -> None:
        self._base = request.base
        self._text: Callable[[int], str] = hub.store.clock.text
        self._returns = request.prefer.returns
        self._last: tuple[int, bytes] = (-1, b"")

    def instant(self, ms: int) -> bytes:
        """A time as `meta.lastUpdated` shows it. All entries of a transaction have the same."""
        if self._last[0] != ms:
            self._last = (ms, self._text(ms).encode())
        return self._last[1]

    def written(self, status: int, stored: Stored) -> bytes:
        """What became of a create, update, patch or delete. `Prefer: return` decides about resource and outcome."""
        parts = b'"response":{"status":"%b"' % _STATUS[status]
        name = f"{stored.type}/{stored.id}"
        if stored.version:
            if not stored.deleted:
                parts += f',"location":"{name}/_history/{stored.version}"'.encode()
            parts += b',"etag":"W/\\"%d\\"","lastModified":"%b"' % (stored.version, self.instant(stored.updated))
        if self._returns == "OperationOutcome":
            parts += b',"outcome":' + dumps(
                outcome([Issue("informational", f"{name}: {_STATUS[status].decode()}", severity="information")])
            )
        parts += b"}"
        if self._returns == "representation" and stored.doc is not None:
            return b'{"fullUrl":%b,"resource":%b,%b}' % (dumps(f"{self._base}/{name}"), stored.doc, parts)
        return b"{%b}" % parts

    def nothing(self) -> bytes:
        """A conditional delete that matched nothing."""
        return b'{"response":{"status":"%b"}}' % _STATUS[204]

    def many(self, versions: Sequence[Stored]) -> bytes:
        """A conditional delete of several."""
        told = outcome([Issue("informational", f"{s.reference} is deleted", severity="information") for s in versions])
        return b'{"response":{"status":"%b","outcome":%b}}' % (_STATUS[200], dumps(told))

    def response(self, request: Request, response: Response) -> bytes:
        """What an interaction of its own answered: reads in a transaction, every entry of a batch."""
        parts = b'"status":"%b"' % _STATUS.get(response.status, b"%d" % response.status)
        if response.location is not None:
            parts += b',"location":' + dumps(response.location.removeprefix(self._base + "/"))
        stored = response.stored
        if stored is not None and stored.version:
            parts += b',"etag":"W/\\"%d\\"","lastModified":"%b"' % (stored.version, self.instant(stored.updated))
        document = None if request.method == "HEAD" or response.status == 304 else _document(request, response)
        if response.written:
            if document is not None and self._returns == "OperationOutcome" and response.status < 300:
                return b'{"response":{%b,"outcome":%b}}' % (parts, document)
            if self._returns != "representation":
                document = None
        if document is None:
            return b'{"response":{%b}}' % parts
        url = b'"fullUrl":%b,' % dumps(f"{self._base}/{stored.reference}") if stored is not None and stored.doc is not None else b""
        return b'{%b"resource":%b,"response":{%b}}' % (url, document, parts)

    def refused(self, error: FhirError) -> bytes:
        """An entry of a batch that failed."""
        status = _STATUS.get(error.status, b"%d" % error.status)
        return b'{"response":{"status":"%b","outcome":%b}}' % (status, dumps(outcome(error.issues)))


def _document(request: Request, response: Response) -> bytes | None:
    """The resource of an answer; what is no FHIR, such as that of $graphql, goes as a Binary."""
    if isinstance(response.content, bytes):
        data = base64.b64encode(response.content).decode()
        return dumps({"resourceType": "Binary", "contentType": response.content_type.partition(";")[0], "data": data})
    return response.document(request)


def bundle(kind: str, entries: Iterable[bytes]) -> bytes:
    """The whole response; no `entry` at all where there is none (JSON has no empty arrays in FHIR)."""
    body = b",".join(entries)
    head = b'{"resourceType":"Bundle","type":"%b"' % kind.encode()
    return head + b',"entry":[' + body + b"]}" if body else head + b"}"
