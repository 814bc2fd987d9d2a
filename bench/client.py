"""A small keep-alive HTTP/1.1 client: the load generator must cost less than the server it measures."""

import asyncio


class Refused(Exception):
    """An answer with another status than wanted."""


class Client:
    """One connection; one request at a time."""

    def __init__(self, host: str, port: int, token: str | None = None) -> None:
        self.host, self.port = host, port
        self._head = f"Host: {host}:{port}\r\nAccept: application/fhir+json\r\n" + (f"Authorization: Bearer {token}\r\n" if token else "")
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> "Client":
        self._reader, self._writer = await asyncio.open_connection(self.host, self.port, limit=1 << 26)
        return self

    async def close(self) -> None:
        if self._writer:
            self._writer.close()

    async def call(self, method: str, path: str, body: bytes | None = None, want: tuple[int, ...] = (200, 201)) -> tuple[int, bytes, bytes]:
        """(status, head, body); Refused when the status is not wanted, ConnectionError when the server goes away."""
        if self._reader is None or self._writer is None:
            await self.open()
        assert self._reader
        assert self._writer
        head = f"{method} {path} HTTP/1.1\r\n{self._head}"
        if body is not None:
            head += f"Content-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(head.encode() + b"\r\n" + (body or b""))
        try:
            top = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as e:
            self._reader = self._writer = None
            raise ConnectionError("the server closed the connection") from e
        status, lower = int(top[9:12]), top.lower()
        at = lower.find(b"content-length:")
        if at >= 0:
            data = await self._reader.readexactly(int(lower[at + 15 : lower.index(b"\r", at)]))
        elif b"transfer-encoding: chunked" in lower:
            data = await self._chunks()
        else:
            data = b""
        if status not in want:
            raise Refused(f"{method} {path[:120]}: {status} {data[:300]!r}")
        return status, top, data

    async def _chunks(self) -> bytes:
        assert self._reader
        out = []
        while size := int(await self._reader.readline(), 16):
            out.append(await self._reader.readexactly(size))
            await self._reader.readline()
        await self._reader.readline()
        return b"".join(out)
