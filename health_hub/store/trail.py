"""The audit trail's journal: what is appended is durable with the commit it belongs to, and cannot be changed unseen.

Rows stand in chains. The hash of a row is an HMAC over the hash before it and all it says, so a row that is changed, moved or
taken out breaks its chain. Each writer has a chain of its own, because a chain has one end; a new chain begins with the ends of
those before it, so that whole chains cannot go either. Only the newest rows of a chain could be cut off by someone who
can write to the database: an operator who keeps the heads that `health-hub check` prints can tell that too.
"""

import hmac
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

REMEMBERED = 64  # ends of other chains that a new one names
PAGE = 500


@dataclass(slots=True)
class Chain:
    """Where one writer appends; `n` is the next row."""

    id: int
    n: int = 0
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class Row:
    """Time in ms since 1970 UTC. records: what was appended together."""

    chain: int
    n: int
    time: int
    data: bytes
    hash: bytes

    @property
    def records(self) -> list[Any]:
        found: list[Any] = json.loads(self.data)
        return found


def new_chain() -> Chain:
    return Chain(secrets.randbits(62))


class Trail:
    """One a store."""

    def __init__(self, database: Any, key: bytes) -> None:
        self._db = database
        self._key = hmac.digest(key, b"trail", "sha256")
        self._m = "?" if database.dialect == "sqlite" else "$"

    def _hash(self, head: bytes, chain: int, n: int, time: int, data: bytes) -> bytes:
        said = head + b"%d %d %d " % (chain, n, time) + data
        return hmac.digest(self._key, said, "sha256")

    async def append(self, t: Any, chain: Chain, records: Sequence[bytes], time: int) -> Chain:
        """One row with these records (JSON), in the transaction `t`; the chain as it is once that commits."""
        if chain.n == 0:
            first = await self._first(t, chain.id, time)
            await t.run([(self._insert, [first])])
            chain = Chain(chain.id, 1, first[4])
        statement, chain = self.next(chain, records, time)
        await t.run([statement])
        return chain

    @property
    def _insert(self) -> str:
        m = self._m
        return f"INSERT INTO trail (chain, n, time, data, hash) VALUES ({m}1, {m}2, {m}3, {m}4, {m}5)"

    def next(self, chain: Chain, records: Sequence[bytes], time: int) -> tuple[tuple[str, list[Any]], Chain]:
        """The statement that appends to a chain that has begun, and the chain after it."""
        data = b"[" + b",".join(records) + b"]"
        hashed = self._hash(chain.head, chain.id, chain.n, time, data)
        return (self._insert, [(chain.id, chain.n, time, data, hashed)]), Chain(chain.id, chain.n + 1, hashed)

    async def _first(self, t: Any, id: int, time: int) -> tuple[int, int, int, bytes, bytes]:
        ends = await t.fetch(
            "SELECT x.chain, x.n, x.hash FROM trail x JOIN (SELECT chain, max(n) AS n, max(time) AS time FROM trail GROUP BY chain "
            f"ORDER BY 3 DESC LIMIT {REMEMBERED}) y ON y.chain = x.chain AND y.n = x.n"
        )
        data = json.dumps([{"ends": [[c, n, bytes(h).hex()] for c, n, h in ends]}], separators=(",", ":")).encode()
        return id, 0, time, data, self._hash(b"", id, 0, time, data)

    async def rows(self, chain: int, after: int = 0, limit: int = PAGE) -> list[Row]:
        """The rows of a chain behind row `after`; row 0 names other chains and records nothing."""
        m = self._m
        rows = await self._db.fetch(
            f"SELECT chain, n, time, data, hash FROM trail WHERE chain = {m}1 AND n > {m}2 ORDER BY n LIMIT {int(limit)}", (chain, after)
        )
        return [Row(r[0], r[1], r[2], bytes(r[3]), bytes(r[4])) for r in rows]

    async def ends(self) -> dict[int, int]:
        """The newest row of every chain."""
        return {r[0]: r[1] for r in await self._db.fetch("SELECT chain, max(n) FROM trail GROUP BY chain")}

    async def heads(self) -> list[tuple[int, int, str]]:
        """(chain, newest row, its hash) of every chain, for keeping elsewhere."""
        rows = await self._db.fetch(
            "SELECT x.chain, x.n, x.hash FROM trail x JOIN (SELECT chain, max(n) AS n FROM trail GROUP BY chain) y "
            "ON y.chain = x.chain AND y.n = x.n ORDER BY x.time"
        )
        return [(c, n, bytes(h).hex()) for c, n, h in rows]

    async def check(self) -> AsyncIterator[str]:
        """Every disagreement of the journal with itself, one sentence each."""
        ends: dict[int, tuple[int, bytes]] = {}
        named: list[tuple[int, int, int, str]] = []
        seen: dict[tuple[int, int], bytes] = {}
        for chain in await self.ends():
            n, head = -1, b""
            while rows := await self.rows(chain, n):
                for row in rows:
                    if row.n != n + 1:
                        yield f"audit chain {chain}: rows {n + 1} to {row.n - 1} are missing"
                        head = b""
                    elif self._hash(head, chain, row.n, row.time, row.data) != row.hash:
                        yield f"audit chain {chain}: row {row.n} was changed, or the key is another"
                    if row.n == 0:
                        named += [(chain, *end) for end in json.loads(row.data)[0]["ends"]]
                    n, head = row.n, row.hash
                    seen[chain, n] = head
            ends[chain] = n, head
        for chain, other, n, text in named:
            if other not in ends or ends[other][0] < n:
                yield f"audit chain {other}: ends before row {n}, which chain {chain} names"
            elif seen[other, n].hex() != text:
                yield f"audit chain {other}: row {n} is not the one that chain {chain} names"
