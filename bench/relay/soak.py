"""The relay under abuse and over time, as a process: memory, descriptors, tasks and peers must come back, an honest call loses nothing.

python -m bench.soak relay [--minutes 10] [--step python] [--step compiled] [--crowd 8] [--seed 1]
"""

import argparse
import asyncio
import os
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
from tqdm import tqdm

from bench.processes import free_port, memory
from bench.relay.abuse import Field, crowd, until
from bench.relay.relays import Process
from bench.relay.session import Session, offer
from bench.relay.sources import Publisher, Shape, Window
from bench.relay.watcher import Watcher
from telemed.relay.build import build

LEVEL_SECONDS: Final = 60.0  # after which memory must stay where it is
GROWTH: Final = 0.15
PATIENCE: Final = 120.0  # for everything to be forgotten: the longest time that a vanished peer is kept is 45 s, and its grace
SHORT: Final = {"GRACE_SECONDS": "5", "EMPTY_SECONDS": "5", "SILENCE_SECONDS": "20", "HELLO_SECONDS": "5"}
GAUGES: Final = ("peers", "rooms", "tasks", "tcp", "handshakes", "addresses")
RETURN: Final = ("descriptors", *GAUGES)  # what must be as it was


@dataclass
class Look:
    """The process at one moment: MB of memory, and counts."""

    memory: float
    counts: dict[str, float]


@dataclass
class Course:
    """All of one run."""

    step: str
    before: Look
    level: float = 0.0  # MB after the first minute
    most: dict[str, float] = field(default_factory=dict)
    after: Look | None = None
    sent: int = 0
    heard: int = 0
    corrupt: int = 0
    wrong: list[str] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)

    def see(self, look: Look) -> None:
        for name, value in [("memory", look.memory), *look.counts.items()]:
            self.most[name] = max(self.most.get(name, 0.0), value)


def gauges(text: str) -> dict[str, float]:
    """`telemed_relay` and the number of open rooms out of /telemed/metrics."""
    found = {}
    for line in text.splitlines():
        if line.startswith('telemed_relay{what="'):
            name, _, value = line.removeprefix('telemed_relay{what="').partition('"} ')
            found[name] = float(value)
    return found


async def look(http: httpx.AsyncClient, base: str, pid: int) -> Look:
    """Raises httpx.HTTPError or OSError when the relay is gone."""
    found = gauges((await http.get(f"{base}/metrics")).text)
    counts = {name: found[name] for name in (*GAUGES, "unsent", "strangers")}
    counts["descriptors"] = float(len(os.listdir(f"/proc/{pid}/fd")))
    counts["threads"] = float(len(os.listdir(f"/proc/{pid}/task")))
    return Look(memory(pid), counts)


class Held:
    """The honest call: sound and picture from one device to one watcher, from the first second to the last."""

    def __init__(self, field: Field) -> None:
        self._field, self._window = field, Window()
        rnd = field.random
        self.publisher = Publisher(field.certificate, 4, [Shape(200, fps=20)], self._window, rnd)
        self.watcher = Watcher(field.certificate, {s.id for s in self.publisher.sources}, self._window)
        token = field.token("held", "doctor", "device")
        self._sessions = [
            Session(field.http, f"{field.base}/whip/held", token),
            Session(field.http, f"{field.base}/whep/held", field.token("held", "eyes", "watcher")),
        ]

    async def begin(self) -> None:
        """Connected, and both streams seen."""
        await self._sessions[0].begin(self.publisher.transport, offer(self.publisher.transport, self.publisher.sources))
        self._pacing = asyncio.create_task(self._pace())
        await asyncio.sleep(0.5)
        await self._sessions[1].begin(self.watcher.transport, offer(self.watcher.transport, ()))
        await until(lambda: len(self.watcher.got) == 2 and bool(self.watcher.first_frame), 20)
        await asyncio.sleep(1)
        self._window.begin, self._window.end = time.monotonic_ns(), 1 << 63

    async def _pace(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        due = dict.fromkeys(self.publisher.sources, now)
        report = now
        while True:
            now = loop.time()
            for source in due:
                while due[source] <= now:
                    self.publisher.frame(source)
                    due[source] += source.step
            if now >= report:
                self.publisher.report()
                report = now + 1
            self.watcher.tick(time.monotonic())
            await asyncio.sleep(0.005)

    async def end(self, course: Course) -> None:
        """The count of the whole time; leaves."""
        self._window.end = time.monotonic_ns()
        await asyncio.sleep(3)  # what is asked for again still comes
        self._pacing.cancel()
        await asyncio.gather(self._pacing, return_exceptions=True)
        course.sent = sum(s.sent for s in self.publisher.sources)
        course.heard = sum(len(g.seen) for g in self.watcher.got.values())
        course.corrupt = self.watcher.corrupt + self.watcher.strays
        for one in self._sessions:
            await one.end()
        for end in (self.publisher, self.watcher):
            end.transport.close()


async def run(step: str, minutes: float, people: int, seed: int) -> Course:
    """One relay with one form of the step."""
    secret, port, udp = secrets.token_urlsafe(32), free_port(), free_port()
    given = {f"TELEMED_{name}": value for name, value in {**SHORT, "STEP": step, "SECRET": secret}.items()}
    command = ["env", *(f"{k}={v}" for k, v in given.items()), sys.executable, "-m", "telemed", "--port", str(port), "--udp-port", str(udp)]
    base = f"http://127.0.0.1:{port}/telemed"
    with Process(command, 0, f"{base}/health") as relay:
        async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
            await look(http, base, relay.pid)
            course = Course(step, await look(http, base, relay.pid))
            world = Field(base, ("127.0.0.1", udp), secret, seed)
            held = Held(world)
            await held.begin()
            seconds = minutes * 60
            began = time.monotonic()
            crowds = [asyncio.create_task(crowd(world, began + seconds)) for _ in range(people)]
            with tqdm(total=round(seconds), desc=step, unit="s", file=sys.stderr) as bar:
                while (passed := time.monotonic() - began) < seconds:
                    await asyncio.sleep(1)
                    now = await look(http, base, relay.pid)
                    course.see(now)
                    if not course.level and passed >= min(LEVEL_SECONDS, seconds / 2):
                        course.level = now.memory
                    bar.set_postfix_str(f"{now.memory:.0f} MB, {now.counts['peers']:.0f} peers, {now.counts['tasks']:.0f} tasks")
                    bar.n = min(round(passed), bar.total)
                    bar.refresh()
            for one in await asyncio.gather(*crowds, return_exceptions=True):
                if isinstance(one, BaseException):
                    course.wrong.append(f"the crowd failed: {one!r}")
            await held.end(course)
            await world.http.aclose()
            last = time.monotonic() + PATIENCE
            while True:
                course.after = await look(http, base, relay.pid)
                if all(course.after.counts[n] <= course.before.counts[n] for n in RETURN) or time.monotonic() > last:
                    break
                await asyncio.sleep(1)
        course.wrong += world.wrong
        course.done = dict(sorted(world.done.items()))
        relay.log.seek(0)
        said = relay.log.read().decode(errors="replace").splitlines()
        course.wrong += [f"the relay logged: {line}" for line in said if line.startswith(("ERROR", "CRITICAL", "Traceback"))][:20]
        course.most["log lines"] = float(len(said))
    return course


def broken(course: Course) -> list[str]:
    """Every bound that does not hold."""
    assert course.after is not None
    found = list(course.wrong)
    for name in RETURN:
        before, after = course.before.counts[name], course.after.counts[name]
        if after > before:
            found.append(f"{name}: {after:.0f} after everybody left, {before:.0f} before")
    if course.after.memory > course.level * (1 + GROWTH):
        found.append(f"memory: {course.after.memory:.0f} MB at the end, {course.level:.0f} after the first minute")
    if course.heard < course.sent or not course.sent:
        found.append(f"the honest call lost {course.sent - course.heard} of {course.sent} packets")
    if course.corrupt:
        found.append(f"the honest call got {course.corrupt} packets that were not sent to it")
    return [f"{course.step}: {what}" for what in found]


def table(courses: Sequence[Course]) -> str:
    lines = ["| step | measure | before | most | after |", "| --- | --- | --- | --- | --- |"]
    for c in courses:
        assert c.after is not None
        what = f"memory, MB ({c.level:.0f} after the first minute)"
        lines.append(f"| {c.step} | {what} | {c.before.memory:.0f} | {c.most['memory']:.0f} | {c.after.memory:.0f} |")
        for name in c.after.counts:
            lines.append(f"| {c.step} | {name} | {c.before.counts[name]:.0f} | {c.most[name]:.0f} | {c.after.counts[name]:.0f} |")
        lines.append(f"| {c.step} | packets of the honest call: sent, heard | | {c.sent} | {c.heard} |")
        lines.append(f"| {c.step} | log lines | | {c.most['log lines']:.0f} | |")
        lines += [f"| {c.step} | {what} | | {count} | |" for what, count in c.done.items()]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="bench.soak relay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--minutes", type=float, default=10, help="for each form of the step")
    p.add_argument("--step", action="append", choices=("python", "compiled"), help="repeatable; both when none is given")
    p.add_argument("--crowd", type=int, default=8, help="how many things are done at a time")
    p.add_argument("--seed", type=int, default=1)
    args = p.parse_args(argv)
    if not Path("/proc/self/fd").is_dir():
        p.error("this needs /proc")
    steps = args.step or ["python", "compiled"]
    if "compiled" in steps:
        build()
    courses = [asyncio.run(run(step, args.minutes, args.crowd, args.seed)) for step in steps]
    print(table(courses))
    wrong = [what for course in courses for what in broken(course)]
    print("\n".join(wrong) or "every bound held")
    return 1 if wrong else 0
