"""HTTP by hand over a socket: what no client library would send, and the answer to it."""

import json
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

JSON = "application/fhir+json"
XML = "application/fhir+xml"
Headers = Iterable[tuple[str | bytes, str | bytes]]


@dataclass
class Answer:
    """`status` 0: the server closed the connection without a word."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0

    def json(self) -> Any:
        return json.loads(self.body)

    def refused(self, *statuses: int) -> dict[str, Any]:
        """The OperationOutcome of a refusal with one of these statuses (any 4xx when none is given)."""
        assert self.status in statuses or (not statuses and 400 <= self.status < 500), (self.status, self.body[:500])
        assert self.headers.get("content-type", "").startswith("application/fhir+"), self.headers
        found: dict[str, Any] = self.json()
        assert found["resourceType"] == "OperationOutcome"
        assert found["issue"], "an outcome names what is wrong"
        for issue in found["issue"]:
            assert issue["severity"] in ("error", "fatal", "warning", "information")
            assert issue["code"] != "exception", issue
        # What was sent is not sent back at length.
        assert len(self.body) < 200_000, len(self.body)
        return found


def call(port: int, method: str, path: str, body: bytes | None = None, headers: Headers = (), *, timeout: float = 60) -> Answer:
    """One request with a Content-Length where there is a body. `path` goes below /fhir as it is; see `q`."""
    lines = [*headers]
    if body is not None:
        lines.append(("Content-Length", str(len(body))))
        if not any(_b(name).lower() == b"content-type" for name, _ in lines):
            lines.append(("Content-Type", JSON))
    return send(port, head(method, path, lines), *([body] if body else []), timeout=timeout)


def head(method: str, path: str, headers: Headers = (), version: str = "1.1", host: str | None = "hub.test") -> bytes:
    target = _b(path) if path.startswith("http") else b"/fhir" + (b"/" if path and path[0] not in "/?" else b"") + _b(path)
    lines = [_b(method) + b" " + target + b" HTTP/" + version.encode()]
    if host is not None:
        lines.append(b"Host: " + host.encode())
    lines += [_b(name) + b": " + _b(value) for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _b(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def q(**parameters: Any) -> str:
    """A query string; `__` in a name is a colon."""
    return "&".join(
        f"{quote(name.replace('__', ':'), ':')}={quote(str(value).encode('utf-8', 'surrogatepass'))}" for name, value in parameters.items()
    )


def chunked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def send(port: int, *pieces: bytes | Iterable[bytes], timeout: float = 60) -> Answer:
    """Writes the pieces while it reads: a refusal often comes before the body has gone out."""
    began = time.monotonic()
    with connect(port, timeout) as s:
        writer = threading.Thread(target=_write, args=(s, pieces), daemon=True)
        writer.start()
        bodiless = isinstance(pieces[0], bytes) and pieces[0].startswith(b"HEAD ")
        answer = receive(s, bodiless=bodiless)
        answer.seconds = time.monotonic() - began
        try:
            s.shutdown(socket.SHUT_RDWR)  # a writer that still waits gives up
        except OSError:
            pass
        writer.join(10)
    return answer


def _write(s: socket.socket, pieces: Iterable[bytes | Iterable[bytes]]) -> None:
    try:
        for piece in pieces:
            for part in [piece] if isinstance(piece, bytes) else piece:
                s.sendall(part)
    except OSError:
        pass  # the server has heard enough


def connect(port: int, timeout: float = 60) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout)


def receive(s: socket.socket, *, bodiless: bool = False) -> Answer:
    """The next answer on a connection. `bodiless`: it is one to HEAD."""
    file = s.makefile("rb")
    try:
        line = file.readline(10_000)
        if line.startswith(b"HTTP/1.1 100 "):
            file.readline(10)
            line = file.readline(10_000)
        if not line:
            return Answer(0)
        assert line.startswith(b"HTTP/1.1 "), line
        answer = Answer(int(line[9:12]))
        while (line := file.readline(1 << 20)) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            answer.headers[name.lower()] = value.strip()
        if bodiless:
            return answer
        if "content-length" in answer.headers:
            answer.body = file.read(int(answer.headers["content-length"]))
        elif answer.headers.get("transfer-encoding") == "chunked":
            while size := int(file.readline(100), 16):
                answer.body += file.read(size)
                file.readline(10)
            file.readline(10)
        return answer
    except ConnectionError:
        return Answer(0)
