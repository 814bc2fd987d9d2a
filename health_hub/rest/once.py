"""A request with an Idempotency-Key is carried out once, also when its sender never saw the answer and sends it again.

The key is marked in the same database transaction as the request's changes (draft-ietf-httpapi-idempotency-key-header). Answers are not
kept: a repetition gets 409 with `Idempotency-Replayed: true`. For requests that commit once, which a batch does not.
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextvars import ContextVar
from typing import Any, cast

from health_hub.access.gate import Gate
from health_hub.fhir.outcome import FhirError, Issue
from health_hub.rest.app import FhirApp
from health_hub.settings import Settings
from health_hub.store.model import AlreadyDone, Change, Expect, Result, Writer
from health_hub.store.store import Store

HEADER = b"idempotency-key"
REPLAYED = "Idempotency-Replayed"
LONGEST = 255

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_key: ContextVar[str | None] = ContextVar("idempotency-key", default=None)


def mark_of(key: str) -> str:
    """The mark that stands for a key in the store."""
    return f"key {key}"


class _Once:
    """The store, whose commits carry the key of the request that makes them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(
        self, changes: Sequence[Change], expects: Sequence[Expect] = (), *, mark: str | None = None, by: Writer | None = None, **more: Any
    ) -> list[Result]:
        key = _key.get()
        if key is None or mark is not None or not changes:
            return await self._store.commit(changes, expects, mark=mark, by=by, **more)
        try:
            # Another's key is another key: nobody learns by it what somebody else has sent.
            own = mark_of(key) if by is None else mark_of(f"{by.author} {key}")
            return await self._store.commit(changes, expects, mark=own, by=by, **more)
        except AlreadyDone:
            why = "a request with this Idempotency-Key was carried out before"
            raise FhirError(409, Issue("duplicate", why), [(REPLAYED, "true")]) from None


class OnceApp:
    """FhirApp, and keys."""

    def __init__(self, store: Store, settings: Settings, gate: Gate | None = None) -> None:
        self.fhir = FhirApp(cast(Store, _Once(store)), settings, gate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for name, value in scope["headers"]:
            if name == HEADER and 0 < len(value) <= LONGEST:
                token = _key.set(value.decode("latin-1"))
                try:
                    await self.fhir(scope, receive, send)
                finally:
                    _key.reset(token)
                return
        await self.fhir(scope, receive, send)
