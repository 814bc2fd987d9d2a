"""Content of Binary resources, in pieces beside the document, so that neither side holds it whole."""

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from health_hub.fhir.outcome import FhirError, Issue
from health_hub.store.model import Stored

PIECE = 256 * 1024
STALE = 86_400  # seconds after which staged content that nothing names is swept


def _mark(database: Any) -> str:
    return "?" if database.dialect == "sqlite" else "$"


async def stage(database: Any, pieces: AsyncIterator[bytes], limit: int) -> tuple[int, int]:
    """Writes the content under a new number: (blob, bytes). Nobody sees it until a committed resource names it."""
    # The upper bits are the time, so that sweeping knows what is old without another column.
    blob = int(time.time()) << 31 | secrets.randbits(31)
    n = size = 0
    held = bytearray()
    m = _mark(database)
    insert = f"INSERT INTO blob (blob, n, data) VALUES ({m}1, {m}2, {m}3)"
    async for piece in pieces:
        held += piece
        size += len(piece)
        if size > limit:
            await database.execute(f"DELETE FROM blob WHERE blob = {m}1", [(blob,)])
            raise FhirError(413, Issue("too-long", f"the content is longer than {limit} bytes"))
        while len(held) >= PIECE:
            await database.execute(insert, [(blob, n, bytes(held[:PIECE]))])
            del held[:PIECE]
            n += 1
    await database.execute(insert, [(blob, n, bytes(held))])
    return blob, size


async def number(database: Any, stored: Stored) -> int | None:
    """The blob a version of a Binary names."""
    m = _mark(database)
    rows = await database.fetch(
        " UNION ALL ".join(f"SELECT blob FROM {table} WHERE rid = {m}1 AND version = {m}2" for table in ("resource", "history")),
        (stored.rid, stored.version),
    )
    return rows[0][0] if rows else None


async def length(database: Any, blob: int) -> int:
    """Bytes of the content."""
    m = _mark(database)
    rows = await database.fetch(f"SELECT n, length(data) FROM blob WHERE blob = {m}1 ORDER BY n DESC LIMIT 1", (blob,))
    return rows[0][0] * PIECE + rows[0][1] if rows else 0


async def read(database: Any, stored: Stored, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
    """Bytes `start` to `stop` (exclusive) in pieces."""
    blob = await number(database, stored)
    if blob is None:
        return
    m = _mark(database)
    n = start // PIECE
    while stop is None or n * PIECE < stop:
        rows = await database.fetch(f"SELECT data FROM blob WHERE blob = {m}1 AND n = {m}2", (blob, n))
        if not rows:
            return
        data = rows[0][0]
        yield data[max(0, start - n * PIECE) : None if stop is None else stop - n * PIECE]
        if len(data) < PIECE:
            return
        n += 1


async def sweep(database: Any) -> None:
    """Removes staged content that a crash left behind."""
    before = int(time.time()) - STALE << 31
    m = _mark(database)
    await database.execute(
        f"DELETE FROM blob WHERE blob < {m}1 AND blob NOT IN (SELECT blob FROM resource WHERE blob IS NOT NULL) "
        "AND blob NOT IN (SELECT blob FROM history WHERE blob IS NOT NULL)",
        [(before,)],
    )
