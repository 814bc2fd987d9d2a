"""`health-hub load`: transaction and batch bundles, resources and NDJSON from files, folders and tars.

Shared hospital, location and practitioner files go first. What was loaded is marked in the database in the same
transaction, by the file's digest and the entry's number, so a second run goes on where the first one stopped.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from health_hub.commands import sources
from health_hub.commands.doors import Answer, Door, Inside, Server, Unreachable
from health_hub.commands.sources import Item, Source, Sources, Whole
from health_hub.settings import SettingError, Settings

OWNER = re.compile(r"Organization/[A-Za-z0-9.-]{1,64}\Z")
CHUNK = 100  # entries in one transaction; part of the marks' meaning, so a change of it starts loads anew
TRIES = 6
BUSY = frozenset((429, 502, 503, 504))


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    p = commands.add_parser("load", parents=[shared], help="load bundles and NDJSON", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="file (.json, .ndjson, plain or .gz or .xz), folder, or tar of them")
    p.add_argument("--server", metavar="URL", help="base URL of a running server, e.g. http://127.0.0.1:8080/fhir, instead of --db")
    p.add_argument("--token", metavar="TOKEN", help="access token for --server")
    p.add_argument("--report", type=Path, metavar="FILE", help="what failed goes here as NDJSON, with the OperationOutcomes")
    p.add_argument("--owner", metavar="Organization/ID", help="facility that what is loaded belongs to; default: the province")
    p.add_argument("--parallel", type=int, default=4, metavar="N", help="transactions under way at once (default 4)")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.parallel < 1:
        raise SettingError("--parallel is at least 1")
    if args.server and args.db:
        raise SettingError("--db and --server exclude each other")
    if args.owner and args.server:
        raise SettingError("--owner goes with --db; at a server, what is loaded belongs to the facility of the --token")
    if args.owner and not OWNER.match(args.owner):
        raise SettingError(f"--owner is Organization/ID, not {args.owner!r}")
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    with Sources(args.paths) as found:
        door: Door = Server(args.server, token=args.token) if args.server else await Inside.open(Settings.load(db=args.db), args.owner)
        try:
            report = await load(door, found, parallel=args.parallel)
        finally:
            await door.close()
    if args.report:
        with args.report.open("w", encoding="utf-8") as f:
            report.write(f)
    report.print(listed=args.report is None)
    return 1 if report.failures else 0


@dataclass(frozen=True, slots=True)
class Failure:
    """`number`: line or entry, 0 for a whole file."""

    source: str
    number: int
    status: int
    outcome: dict[str, Any]

    def lines(self) -> list[str]:
        at = f"{self.source}:{self.number}" if self.number else self.source
        issues = [i for i in self.outcome.get("issue", ()) if isinstance(i, dict)]
        out = [f"{at}: {self.status or 'not sent'}"]
        for i in issues:
            out.append(f"    {i.get('code', '')}: {i.get('diagnostics', '')}" + "".join(f" [{e}]" for e in i.get("expression", ())))
        return out


@dataclass(slots=True)
class Report:
    """What came of a load."""

    loaded: int = 0
    skipped: int = 0
    failures: list[Failure] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def print(self, *, listed: bool) -> None:
        seconds = max(time.monotonic() - self.started, 1e-9)
        if listed:
            for failure in self.failures:
                print("\n".join(failure.lines()))
        print(f"loaded {self.loaded:,} resources in {seconds:.1f} s ({self.loaded / seconds:,.0f}/s), "
              f"skipped {self.skipped:,} loaded before, failed {len(self.failures):,}")

    def write(self, f: IO[str]) -> None:
        for x in self.failures:
            line = {"source": x.source, "entry": x.number, "status": x.status, "outcome": x.outcome}
            f.write(json.dumps(line, ensure_ascii=False) + "\n")


async def load(door: Door, found: Sequence[Source], *, parallel: int = 4, quiet: bool = False) -> Report:
    """Send everything; failures are collected, never raised, except that nothing answers any more."""
    from tqdm import tqdm

    size = sum(s.size for s in found)
    with tqdm(total=size, unit="B", unit_scale=True, desc="load", file=sys.stderr, disable=True if quiet else None) as bar:
        loader = Loader(door, Report(), bar, parallel)
        # The shared ranks one after the other, each finished before the next; then everything else side by side.
        for _, group in groupby(found, key=lambda s: min(s.rank, sources.shared_ranks())):
            await loader.sources(list(group))
    return loader.report


class Loader:
    """Keeps up to `parallel` transactions under way."""

    def __init__(self, door: Door, report: Report, bar: Any, parallel: int) -> None:
        self.door, self.report, self._bar = door, report, bar
        self._slots = asyncio.Semaphore(parallel)

    async def sources(self, group: list[Source]) -> None:
        async with asyncio.TaskGroup() as ends:
            for source in group:
                tasks = await self._source(source)
                ends.create_task(self._end(source, tasks))

    async def _source(self, source: Source) -> list["asyncio.Task[bool]"]:
        """Start what a file asks for; the tasks answer whether everything went well."""
        if await self.door.marked([_name(source)]):
            self.report.skipped += sum(p.resources if isinstance(p, Whole) else 1 for p, _ in sources.pieces(source))
            self._bar.update(source.size)
            return []
        tasks: list[asyncio.Task[bool]] = []
        items: list[Item] = []
        # Entries of a batch are independent of each other by the standard, yet senders rely on their order.
        ordered = not sources.lines(source)
        at = 0
        for piece, position in sources.pieces(source):
            if isinstance(piece, Item):
                items.append(piece)
                if len(items) < CHUNK:
                    continue
                work: Any = self._chunk(source, items)
                items = []
            elif isinstance(piece, Whole):
                work = self._whole(source, piece)
            else:
                self._fail(source, piece.number, 0, {"resourceType": "OperationOutcome", "issue": [
                    {"severity": "error", "code": "structure", "diagnostics": piece.why}]})
                continue
            tasks.append(await self._start(work))
            if ordered:
                await tasks[-1]
            self._bar.update(position - at)
            at = position
        if items:
            tasks.append(await self._start(self._chunk(source, items)))
        self._bar.update(source.size - at)
        return tasks

    async def _start(self, work: Any) -> "asyncio.Task[bool]":
        await self._slots.acquire()
        task: asyncio.Task[bool] = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._slots.release())
        return task

    async def _end(self, source: Source, tasks: list["asyncio.Task[bool]"]) -> None:
        failed = any(f.source == source.name for f in self.report.failures)
        if tasks and all(await asyncio.gather(*tasks)) and not failed:
            await self.door.mark(_name(source))

    async def _whole(self, source: Source, piece: Whole) -> bool:
        mark = f"{_name(source)} {piece.number}"
        if await self.door.marked([mark]):
            self.report.skipped += piece.resources
            return True
        return self._done(source, piece.number, piece.resources, await self._post(piece.body, mark))

    async def _chunk(self, source: Source, items: list[Item]) -> bool:
        """One transaction; where it is refused, its halves, down to the entries that are to blame."""
        mark = f"{_name(source)} {items[0].number}-{items[-1].number}"
        done = await self.door.marked([mark, f"{mark} split"])
        if mark in done:
            self.report.skipped += len(items)
            return True
        if not done:
            body = b'{"resourceType":"Bundle","type":"transaction","entry":[%b]}' % b",".join(i.entry for i in items)
            answer = await self._post(body, mark)
            if len(items) == 1 or answer.done or answer.status not in range(400, 500):
                return self._done(source, items[0].number, len(items), answer)
            await self.door.mark(f"{mark} split")
        half = len(items) // 2
        first = await self._chunk(source, items[:half])
        return await self._chunk(source, items[half:]) and first

    async def _post(self, body: bytes, mark: str) -> Answer:
        """Wait and try again where the server is busy or away; a key keeps what was carried out from being done twice."""
        wait = 0.5
        for n in range(TRIES):
            answer: Answer
            try:
                answer = await self.door.post(body, mark)
            except Unreachable as e:
                answer = Answer(0, json.dumps({"resourceType": "OperationOutcome", "issue": [
                    {"severity": "error", "code": "transient", "diagnostics": str(e)}]}).encode())
            if answer.status and answer.status not in BUSY:
                return answer
            if n < TRIES - 1:
                await asyncio.sleep(answer.retry_after or wait)
                wait *= 2
        return answer

    def _done(self, source: Source, number: int, resources: int, answer: Answer) -> bool:
        if answer.done:
            self.report.loaded += resources
            self._bar.set_postfix_str(f"{self.report.loaded:,} resources, {len(self.report.failures)} failed", refresh=False)
            return True
        try:
            outcome = json.loads(answer.body)
        except ValueError:
            outcome = None
        self._fail(source, number, answer.status, outcome if isinstance(outcome, dict) else {"resourceType": "OperationOutcome", "issue": [
            {"severity": "error", "code": "exception", "diagnostics": answer.body[:500].decode("utf-8", "replace")}]})
        return False

    def _fail(self, source: Source, number: int, status: int, outcome: dict[str, Any]) -> None:
        self.report.failures.append(Failure(source.name, number, status, outcome))


def _name(source: Source) -> str:
    return f"load {source.digest}"
