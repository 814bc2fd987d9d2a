"""Search parameters that were posted: taken into use by every worker, with the index rebuilt behind them."""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

from fhir_profiles import tables
from fhir_profiles.tables import SearchParam
from health_hub.fhir import index
from health_hub.fhir.index.definition import definition
from health_hub.fhir.json import loads
from health_hub.fhir.outcome import FhirError
from health_hub.store.model import Result
from health_hub.store.reindex import count, fingerprint, rebuild

KIND = "reindex"
POLL = 1.0  # seconds between two looks for what other workers have changed
GRACE = 2.5  # seconds until every worker knows: rows written before that may lack the new keys
PATIENCE = 5.0  # seconds that the writer of a parameter waits until it is in use
DEAD = 60_000  # ms without progress after which a rebuild counts as lost

log = logging.getLogger(__name__)


class Parameters:
    """One a process. `progress` is for a person, None when the index is whole."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._version = ""
        self._served: dict[str, SearchParam] = {}
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._pending: set[str] = set()
        self.progress: str | None = None
        self.elsewhere: str | None = None  # the same of another worker's rebuild, as far as this one had to load something for it
        self._follow = 0.0

    @property
    def told(self) -> str | None:
        """What a search has to say about the index being rebuilt, here or by another worker."""
        return self.progress or self.elsewhere

    async def load(self) -> None:
        """Takes the stored parameters into use."""
        self._version = await self._store.setting("search-parameters", "0")
        await self._load()

    def start(self) -> None:
        """Follows what is posted here and elsewhere; a rebuild that a crash cut short is done again."""
        self._store.listen(self._committed)
        self._tasks.append(asyncio.create_task(self._watch()))
        if self._store.stale_index:
            self._rebuild_soon(set())

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _load(self) -> set[str]:
        """Brings what is served in line with what is stored; the resource types that are indexed otherwise now."""
        wanted: dict[str, SearchParam] = {}
        async for stored in self._store.view().scan(["SearchParameter"]):
            found = definition(loads(stored.doc or b"{}"))
            if found is not None and found.url and tables.search_param_by_url(found.url) is None:
                wanted[found.url] = found
        types: set[str] = set()
        for url, param in list(self._served.items()):
            if wanted.get(url) != param:
                index.remove(self._served.pop(url))
                types.update(param.base)
        for url, param in wanted.items():
            if url in self._served:
                continue
            try:
                index.add(param)
            except FhirError as e:
                log.warning("search parameter %s is not served: %s", url, e)
                continue
            self._served[url] = param
            types.update(param.base)
        return {t for t in tables.RESOURCE_TYPES if any(tables.is_a(t, base) for base in types)}

    def _committed(self, results: list[Result]) -> None:
        if any(r.stored.type == "SearchParameter" for r in results):
            self._idle.clear()
            self._changed.set()

    async def known(self) -> None:
        """Until what was committed here is in use here, so that the next request meets it: as a name, and as a name that is taken."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._idle.wait()

    async def _watch(self) -> None:
        while True:
            try:
                try:
                    # Not wait_for: a cancellation that comes as the event does would be lost in it, and `stop` wait for ever.
                    async with asyncio.timeout(POLL):
                        await self._changed.wait()
                except TimeoutError:
                    current = await self._store.setting("search-parameters", "0")
                    if current != self._version:
                        self._version = current
                        await self._load()
                        self._follow = time.monotonic() + GRACE
                    if self._follow:
                        await self._look()
                    continue
                self._changed.clear()
                try:
                    types = await self._load()
                    if types:
                        self._version = str(time.time_ns())
                        await self._store.put_setting("search-parameters", self._version)
                        self._rebuild_soon(types)
                finally:
                    if not self._changed.is_set():
                        self._idle.set()
            except asyncio.CancelledError:
                raise
            except Exception as e:
                # The database may be away for a while; what changed meanwhile is found at the next look.
                log.warning("search parameters could not be looked up: %r", e)
                await asyncio.sleep(POLL)

    async def _look(self) -> None:
        """How far the worker is that rebuilds the index for what was found changed."""
        now = time.time_ns() // 1_000_000
        running = [j for j in await self._store.jobs.running(KIND) if now - j.updated < DEAD]
        self.elsewhere = (running[0].progress or "0%") if running else None
        if not running and time.monotonic() > self._follow:
            self._follow = 0.0

    def _rebuild_soon(self, types: set[str]) -> None:
        self._pending |= types
        if self.progress is None:
            self.progress = "0%"
            self._tasks = [t for t in self._tasks if not t.done()]
            self._tasks.append(asyncio.create_task(self._rebuild()))

    async def _rebuild(self) -> None:
        try:
            now = time.time_ns() // 1_000_000
            if any(now - j.updated < DEAD for j in await self._store.jobs.running(KIND)) and not self._pending:
                return  # another worker that started at the same time is at it
            again = True
            while again:
                types, self._pending = sorted(self._pending), set()
                id = await self._store.jobs.create(KIND, {"types": types})
                await asyncio.sleep(GRACE)
                total, done, told = await count(self._store, types), 0, time.monotonic()

                def tell(n: int, total: int = total) -> None:
                    nonlocal done
                    done += n
                    self.progress = f"{min(99, done * 100 // max(total, 1))}%"

                beat = asyncio.create_task(self._beat(id))
                try:
                    await rebuild(self._store, types, tell)
                finally:
                    beat.cancel()
                again = bool(self._pending)
                if not again:
                    await self._store.put_setting("index", fingerprint())
                await self._store.jobs.finish(id, "done")
                log.info("index rebuilt: %d resources in %.0f s", done, time.monotonic() - told)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("the index could not be rebuilt; the next start will try again, or: health-hub reindex")
        finally:
            self.progress = None

    async def _beat(self, id: str) -> None:
        while True:
            await asyncio.sleep(2)
            await self._store.jobs.progress(id, self.progress or "")
