"""A load: rooms of publishers and watchers on a relay, and the figures of a measured stretch of it."""

import asyncio
import gc
import heapq
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from bench.processes import cpu, memory
from bench.relay import session
from bench.relay.sources import Publisher, Shape, Source, Window
from bench.relay.watcher import Watcher
from telemed.relay.dtls import Certificate

TICK = 0.02
DRAIN = 1.5  # seconds for the last packets and what resending still brings
AT_ONCE = 8  # sessions that are set up at a time


@dataclass(frozen=True)
class Plan:
    """What is to run. `base`: http://host:port/telemed of each relay (a room lives on one), none: straight from publisher to watcher."""

    base: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()
    rooms: int = 1
    watchers: int = 1
    two_way: bool = False
    seconds: float = 10.0
    warm: float = 3.0
    kbps: int = 500
    layers: tuple[Shape, ...] = ()  # simulcast instead of one stream
    loss: float = 0.0  # of RTP packets at each watcher
    nack_audio: bool = True
    seed: int = 1
    token: str = ""


@dataclass
class Report:
    """One stretch. Packets count when they were sent inside it; `late`: out of order; `breaks`: numbers that do not follow on."""

    rooms: int = 0
    watchers: int = 0
    seconds: float = 0.0
    sent: int = 0
    expected: int = 0
    received: int = 0
    missing_video: float = 0.0  # per cent, after recovery
    missing_audio: float = 0.0
    p50: float = 0.0  # ms
    p99: float = 0.0
    longest: float = 0.0
    corrupt: int = 0
    duplicates: int = 0
    late: int = 0
    breaks: int = 0
    rtx: int = 0
    dropped: int = 0
    plis: int = 0
    silence_ms: float = 0.0  # longest gap between two packets of sound
    silences: int = 0  # of more than 200 ms
    cpu_us: float = 0.0  # relay's CPU for each packet delivered
    cpu_percent: float = 0.0
    tool_percent: float = 0.0
    other_percent: float = 0.0  # the rest of the machine: noise
    memory_mb: float = 0.0
    failed: list[str] = field(default_factory=list)

    @property
    def missing(self) -> float:
        """Per cent of all packets."""
        return 100 * (self.expected - self.received) / max(self.expected, 1)


@dataclass(eq=False)
class Feed:
    """Who watches whom."""

    publisher: Publisher
    watcher: Watcher


class Load:
    """`async with Load(plan) as load` sets all up; `measure` runs a stretch."""

    def __init__(self, plan: Plan, tell: Callable[[int], Any] = lambda n: None) -> None:
        self.plan, self._tell = plan, tell
        self.window = Window()
        self.publishers: list[Publisher] = []
        self.watchers: list[Watcher] = []
        self.feeds: list[Feed] = []
        self.failed: list[str] = []
        self.joined: dict[Watcher, float] = {}  # when the watcher's POST began
        self._sessions: list[session.Session] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._random = random.Random(plan.seed)
        self._certificate = Certificate()
        self._due: list[tuple[float, int, Publisher, Source]] = []
        self._number = 0

    async def __aenter__(self) -> Self:
        self._http = httpx.AsyncClient(timeout=20, trust_env=False, limits=httpx.Limits(max_connections=AT_ONCE * 2))
        self._tasks = [asyncio.create_task(self._pace()), asyncio.create_task(self._ticks())]
        gate = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*[self._guarded(gate, self._room(n)) for n in range(self.plan.rooms)])
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        gate = asyncio.Semaphore(AT_ONCE)

        async def end(one: session.Session) -> None:
            async with gate:
                await one.end()

        await asyncio.gather(*[end(s) for s in self._sessions])
        for peer in [*self.publishers, *self.watchers]:
            peer.transport.close()
        await self._http.aclose()

    # Setting up.

    async def _guarded(self, gate: asyncio.Semaphore, job: Awaitable[None]) -> None:
        async with gate:
            try:
                await job
            except (session.Refused, httpx.HTTPError, TimeoutError, OSError) as e:
                self.failed.append(f"{type(e).__name__}: {e}"[:300])
            self._tell(1)

    async def _room(self, n: int) -> None:
        names = ("a", "b") if self.plan.two_way else ("a",)
        publishers = [await self.publish(n, name, 2 * n + i) for i, name in enumerate(names)]
        for i, publisher in enumerate(publishers):
            for w in range(self.plan.watchers):
                await self.watch(n, names[i], publisher, f"{n}-{i}-{w}")

    def _url(self, kind: str, room: int, query: str) -> str:
        return f"{self.plan.base[room % len(self.plan.base)]}/{kind}/bench{room}{query}"

    async def publish(self, room: int, name: str, number: int) -> Publisher:
        """One more publisher."""
        shapes = list(self.plan.layers) or [Shape(self.plan.kbps)]
        publisher = Publisher(self._certificate, number, shapes, self.window, self._random)
        self.publishers.append(publisher)
        if self.plan.base:
            one = session.Session(self._http, self._url("whip", room, f"?participant={name}"), self.plan.token)
            self._sessions.append(one)
            await one.begin(publisher.transport, session.offer(publisher.transport, publisher.sources))
            now = asyncio.get_running_loop().time()
            for source in publisher.sources:
                source.due += now
                self._push(publisher, source)
            await asyncio.sleep(0.15)  # until the relay has seen every stream
        return publisher

    async def watch(self, room: int, name: str, publisher: Publisher, seed: str) -> Watcher:
        """One more watcher of a publisher."""
        wanted = {s.id for s in publisher.sources}
        watcher = Watcher(self._certificate, wanted, self.window, self.plan.loss, f"{self.plan.seed}/{seed}", self.plan.nack_audio)
        self.watchers.append(watcher)
        self.joined[watcher] = time.monotonic()
        if self.plan.base:
            one = session.Session(self._http, self._url("whep", room, f"?participant={name}"), self.plan.token)
            self._sessions.append(one)
            await one.begin(watcher.transport, session.offer(watcher.transport, (), self.plan.nack_audio))
        else:
            session.pair(publisher.transport, watcher.transport)
            await asyncio.gather(publisher.transport.connected, watcher.transport.connected)
            for source in publisher.sources:
                source.due += asyncio.get_running_loop().time()
                self._push(publisher, source)
        self.feeds.append(Feed(publisher, watcher))
        return watcher

    # Running.

    def _push(self, publisher: Publisher, source: Source) -> None:
        self._number += 1
        heapq.heappush(self._due, (source.due, self._number, publisher, source))

    async def _pace(self) -> None:
        """Every source at its own rate, from one loop."""
        loop, due = asyncio.get_running_loop(), self._due
        while True:
            now = loop.time()
            sent = 0
            while due and due[0][0] <= now and sent < 32:  # then the sockets have their turn
                _, _, publisher, source = heapq.heappop(due)
                publisher.frame(source)
                source.due += source.step
                self._push(publisher, source)
                sent += 1
            # uvloop's timers are of 1 ms; a shorter sleep would spin.
            await asyncio.sleep(0 if sent == 32 else 0.001)

    async def _ticks(self) -> None:
        while True:
            now = time.monotonic()
            for watcher in self.watchers:
                watcher.tick(now)
            for publisher in self.publishers:
                if now >= publisher.report_at:
                    publisher.report_at = now + 1.0
                    publisher.report()
            await asyncio.sleep(TICK)

    async def measure(self) -> Report:
        """Warm up, then a stretch of `plan.seconds`."""
        plan = self.plan
        for watcher in self.watchers:
            watcher.transport.lose = watcher.lose if plan.loss else None
        gc.collect()
        gc.freeze()
        await asyncio.sleep(plan.warm)
        for watcher in self.watchers:
            watcher.got.clear()
        for publisher in self.publishers:
            for source in publisher.sources:
                source.sent = source.plis = 0
        before, own, machine = cpu(*plan.pids), time.process_time(), busy()
        began = time.monotonic()
        self.window.begin = time.monotonic_ns()
        self.window.end = self.window.begin + int(plan.seconds * 1e9)
        await asyncio.sleep(plan.seconds)
        seconds = time.monotonic() - began
        used, tool, all_ = cpu(*plan.pids) - before, time.process_time() - own, busy() - machine
        await asyncio.sleep(DRAIN)
        report = self._report(seconds, used)
        report.tool_percent = 100 * tool / seconds
        report.other_percent = max(0.0, 100 * (all_ - tool - used) / seconds)
        gc.unfreeze()
        return report

    def _report(self, seconds: float, used: float) -> Report:
        plan = self.plan
        report = Report(plan.rooms, plan.watchers, seconds, failed=self.failed)
        delays: list[int] = []
        expected = [0, 0]
        received = [0, 0]
        for publisher in self.publishers:
            report.sent += sum(s.sent for s in publisher.sources)
            report.plis += sum(s.plis for s in publisher.sources)
        for feed in self.feeds:
            for source in feed.publisher.sources:
                if plan.layers and source.video:
                    continue  # one of several: which one is the relay's choice
                expected[source.video is not None] += source.sent
                got = feed.watcher.got.get(source.id)
                if got is None:
                    continue
                received[source.video is not None] += len(got.seen)
                delays.extend(got.delays)
                report.rtx += got.rtx
                report.late += got.late
                report.duplicates += got.duplicates
                report.breaks += got.breaks
                if source.video is None:
                    report.silence_ms = max(report.silence_ms, got.gap * 1000)
                    report.silences += got.gaps
            report.corrupt += feed.watcher.corrupt + feed.watcher.strays
            report.dropped += feed.watcher.dropped
        delays.sort()
        report.expected, report.received = sum(expected), sum(received)
        report.missing_audio, report.missing_video = (100 * (e - r) / max(e, 1) for e, r in zip(expected, received, strict=True))
        report.p50, report.p99, report.longest = (quantile(delays, q) / 1000 for q in (0.5, 0.99, 1.0))
        report.cpu_us = 1e6 * used / max(report.received, 1)
        report.cpu_percent = 100 * used / seconds
        report.memory_mb = sum(memory(pid) for pid in plan.pids)
        return report


def quantile(ordered: list[int], q: float) -> float:
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def busy() -> float:
    """Seconds that the whole machine worked."""
    with open("/proc/stat") as f:
        ticks = [int(x) for x in f.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


async def run(plan: Plan, tell: Callable[[int], Any] = lambda n: None) -> Report:
    """One load from start to end."""
    async with Load(plan, tell) as load:
        return await load.measure()


def worst(reports: Iterable[Report]) -> Report:
    """The one that lost most."""
    return max(reports, key=lambda r: r.missing)
