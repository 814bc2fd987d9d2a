"""Where `load` sends its transactions: into this process's own FHIR interface over a database, or to a server."""

import asyncio
import hashlib
import http.client
import os
import ssl
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

from health_hub.settings import SettingError, Settings

TIMEOUT = 600  # seconds for one transaction


class Answer(NamedTuple):
    """`replayed`: the same was carried out before, by a request whose answer got lost."""

    status: int
    body: bytes
    retry_after: float | None = None
    replayed: bool = False

    @property
    def done(self) -> bool:
        return 200 <= self.status < 300 or self.replayed


class Unreachable(Exception):
    """The server did not answer; the request may have been carried out all the same."""

    def __init__(self, why: object) -> None:
        super().__init__(f"{type(why).__name__}: {why}" if isinstance(why, Exception) else str(why))


def _headers(mark: str) -> dict[str, str]:
    return {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json", "Prefer": "return=minimal", "Idempotency-Key": mark}


class Door(Protocol):
    """A mark names a piece of a load; `post` sets it together with the transaction that it stands for."""

    async def post(self, bundle: bytes, mark: str) -> Answer: ...
    async def marked(self, names: Sequence[str]) -> set[str]: ...
    async def mark(self, name: str) -> None: ...
    async def close(self) -> None: ...


class _Owned:
    """The store, whose commits create for a facility."""

    def __init__(self, store: Any, owner: str) -> None:
        self._store, self._owner = store, owner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, changes: Sequence[Any], *more: Any, **named: Any) -> Any:
        for change in changes:
            change.owner = self._owner
        return await self._store.commit(changes, *more, **named)


class Inside:
    """The same code that answers HTTP, called in this process: validation, conditional references and transactions alike."""

    def __init__(self, store: Any, app: Any, path: str) -> None:
        self._store, self._app, self._path = store, app, path

    @classmethod
    async def open(cls, settings: Settings, owner: str | None = None) -> "Inside":
        """owner: the facility that what is loaded belongs to."""
        from health_hub.rest.app import ROOT
        from health_hub.rest.once import OnceApp
        from health_hub.store.store import Store

        store = await Store.open(settings.db, **settings.store())
        return cls(store, OnceApp(store if owner is None else cast(Store, _Owned(store, owner)), settings), ROOT)

    async def post(self, bundle: bytes, mark: str) -> Answer:
        answer = await self._call(bundle, mark)
        # A transaction that has nothing to change, since every conditional create found its resource, commits no mark.
        if answer.done and not await self.marked([mark]):
            await self.mark(mark)
        return answer

    async def _call(self, body: bytes, mark: str) -> Answer:
        headers = [(k.lower().encode(), v.encode()) for k, v in _headers(mark).items()]
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": self._path, "raw_path": self._path.encode(), "root_path": "", "query_string": b"",
            "headers": [*headers, (b"host", b"localhost"), (b"content-length", str(len(body)).encode())],
            "client": ("127.0.0.1", 0), "server": ("localhost", 80), "state": {},
        }  # fmt: skip
        unsent: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]
        status, replayed, parts = 500, False, []

        async def receive() -> MutableMapping[str, Any]:
            if unsent:
                return unsent.pop()
            await asyncio.Event().wait()  # a client that stays connected
            raise AssertionError

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal status, replayed
            if message["type"] == "http.response.start":
                status = message["status"]
                replayed = any(name.lower() == b"idempotency-replayed" for name, _ in message["headers"])
            else:
                parts.append(message.get("body", b""))

        await self._app(scope, receive, send)
        return Answer(status, b"".join(parts), None, replayed)

    async def marked(self, names: Sequence[str]) -> set[str]:
        from health_hub.rest.once import mark_of

        found: set[str] = await self._store.marked([mark_of(n) for n in names])
        return {n for n in names if mark_of(n) in found}

    async def mark(self, name: str) -> None:
        from health_hub.rest.once import mark_of
        from health_hub.store.model import AlreadyDone

        try:
            await self._store.commit([], mark=mark_of(name))
        except AlreadyDone:
            pass

    async def close(self) -> None:
        await self._store.close()


class Server:
    """A server by its base URL. What it has acknowledged is kept in a file of this machine, one a server.

    Each transaction has a key, so sending it again is safe with a server that knows keys, as this one does.
    """

    def __init__(self, base: str, *, token: str | None = None) -> None:
        parts = urlsplit(base.rstrip("/"))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingError(f"--server is the base URL of a FHIR server, not {base!r}")
        self._url, self._idle = parts, list[http.client.HTTPConnection]()
        self._token = {"Authorization": f"Bearer {token}"} if token else {}
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "health-hub"
        state.mkdir(parents=True, exist_ok=True)
        self._file = (state / f"load-{hashlib.sha256(parts.geturl().encode()).hexdigest()[:16]}.marks").open("a+b")
        self._file.seek(0)
        # A last line without its end was cut short by a crash: what it stood for is not counted as done.
        self._marks = {line[:-1].decode() for line in self._file if line.endswith(b"\n")}
        self._file.write(b"\n")

    async def post(self, bundle: bytes, mark: str) -> Answer:
        answer = await asyncio.to_thread(self._post, bundle, mark)
        if answer.done:
            await self.mark(mark)
        return answer

    def _post(self, body: bytes, mark: str) -> Answer:
        kept = bool(self._idle)
        connection = self._idle.pop() if kept else self._connect()
        path = self._url.path + (f"?{self._url.query}" if self._url.query else "") or "/"
        try:
            connection.request("POST", path, body, _headers(mark) | self._token)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as e:
            connection.close()
            if kept and isinstance(e, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError):
                return self._post(body, mark)  # the server closed a connection that was idle
            raise Unreachable(e) from e
        if response.will_close:
            connection.close()
        else:
            self._idle.append(connection)
        retry = response.headers.get("Retry-After", "")
        replayed = "Idempotency-Replayed" in response.headers
        return Answer(response.status, content, float(retry) if retry.isdigit() else None, replayed)

    def _connect(self) -> http.client.HTTPConnection:
        host = self._url.hostname or ""
        if self._url.scheme == "https":
            return http.client.HTTPSConnection(host, self._url.port, timeout=TIMEOUT, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, self._url.port, timeout=TIMEOUT)

    async def marked(self, names: Sequence[str]) -> set[str]:
        return self._marks.intersection(names)

    async def mark(self, name: str) -> None:
        self._marks.add(name)
        self._file.write(name.encode() + b"\n")
        self._file.flush()

    async def close(self) -> None:
        self._file.close()
        for connection in self._idle:
            connection.close()
