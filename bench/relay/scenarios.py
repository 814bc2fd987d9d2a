"""The measures of the relay, one function each: what is set up, what is counted, and the goal."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from bench.relay import rtcload
from bench.relay.load import Load, Plan, Report, run
from bench.relay.relays import KNOWN, Ours, Peer
from bench.relay.sources import Shape
from tests.telemed.impair import Impairment
from tests.telemed.impair import Path as Link

LAYERS: Final = (Shape(60, 15, 160, "q"), Shape(180, 30, 320, "h"), Shape(500, 30, 640, "f"))
LOST: Final = 0.01  # per cent: "nothing lost" but for the machine's own hiccups, which are named
CEILING: Final = 50.0  # ms at p99 without any relay: a tool that is this late cannot tell what a relay loses


@dataclass(frozen=True)
class Options:
    """`forms`: name -> more arguments of our relay, e.g. with and without the compiled step. `peers`: name -> start script."""

    forms: dict[str, str]
    peers: dict[str, str]
    tool: Path | None
    seconds: float
    repeat: int
    sound_seconds: float
    tell: Callable[[str], Any]


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    relay: str
    goal: str
    measured: str
    good: bool | None = None  # None: nothing to compare with here
    note: str = ""


def noise(reports: list[Report], lost: bool = True) -> str:
    """What says how far a figure may be trusted: CPU of the load tool and of the rest of the machine."""
    tool, other = max(r.tool_percent for r in reports), max(r.other_percent for r in reports)
    failed = sum(len(r.failed) for r in reports)
    text = f"tool {tool:.0f}%, other {other:.0f}%" + (f", lost {max(r.missing for r in reports):.3f}%" if lost else "")
    return text + (f", {failed} sessions failed" if failed else "")


async def one(options: Options, plan: Plan, relay: Ours | Peer | None) -> Report:
    """A load by rtcload where there is one, else by our own generator."""
    if options.tool is not None:
        return await asyncio.to_thread(rtcload.run, options.tool, plan, relay)
    assert relay is None or isinstance(relay, Ours), "other relays are measured by rtcload"
    return await run(replace(plan, base=(relay.base,) if relay else (), pids=(relay.pid,) if relay else ()))


def start(options: Options, name: str) -> Ours | Peer:
    return Ours(options.forms[name]) if name in options.forms else Peer(name, options.peers[name])


def names(options: Options) -> list[str]:
    return [*options.forms, *(options.peers if options.tool is not None else ())]


async def cost(options: Options) -> list[Row]:
    """CPU for each packet delivered, relays in turn at equal load; memory at 100 rooms."""
    rows = []
    for rooms, watchers in ((100, 1), (1, 50)):
        found: dict[str, list[Report]] = {n: [] for n in names(options)}
        for round_ in range(options.repeat):
            for name in found:
                options.tell(f"cost {rooms}x1+{watchers} {name} {round_ + 1}/{options.repeat}")
                with start(options, name) as relay:
                    found[name].append(await one(options, Plan(rooms=rooms, watchers=watchers, seconds=options.seconds), relay))
        middle = {name: statistics.median(r.cpu_us for r in reports) for name, reports in found.items()}
        theirs = [middle[n] for n in found if n in KNOWN]
        for name, reports in found.items():
            limit = min(theirs) / (2 if name == "compiled" else 1) if theirs else None
            good = middle[name] <= limit if limit and name in options.forms else None
            goal = f"<= {limit:.1f}" if limit and name in options.forms else ""
            spread = f"{min(r.cpu_us for r in reports):.1f}-{max(r.cpu_us for r in reports):.1f}"
            room = "room" if rooms == 1 else "rooms"
            measured = f"{middle[name]:.1f} ({spread})"
            rows.append(Row(f"CPU us a delivered packet, {rooms} {room} 1+{watchers}", name, goal, measured, good, noise(reports)))
            if rooms == 100:
                used = max(r.memory_mb for r in reports)
                mine = name in options.forms
                rows.append(Row("memory at 100 rooms, MB", name, "200" if mine else "", f"{used:.0f}", used <= 200 if mine else None))
    return rows


async def capacity(options: Options) -> list[Row]:
    """Two-party consultations, more and more, until something is lost."""
    rows = []
    for name in names(options):
        goal = {"python": 100, "compiled": 200}.get(name, 0)
        best, last = 0, Report()
        for rooms in (25, 50, 75, 100, 125, 150, 200, 250, 300):
            for turn in range(options.repeat):  # whoever else uses the machine must not decide
                options.tell(f"capacity {name} {rooms} {turn + 1}/{options.repeat}")
                with start(options, name) as relay:
                    last = await one(options, Plan(rooms=rooms, two_way=True, seconds=options.seconds), relay)
                if last.missing <= LOST and not last.failed:
                    break
            if last.missing > LOST or last.failed or not last.received:
                break
            best = rooms
        note = f"at {last.rooms}: relay {last.cpu_percent:.0f}%, {noise([last])}, p99 {last.p99:.1f} ms"
        good = best >= goal if goal else None
        if good is False:
            floor = await one(options, Plan(rooms=2 * last.rooms, seconds=options.seconds), None)  # as many packets, and no relay
            note += f"; without a relay tool {floor.tool_percent:.0f}%, p99 {floor.p99:.1f} ms"
            if floor.p99 > CEILING:
                good, note = None, note + ": the tool's own ceiling"
        rows.append(Row("two-party consultations, nothing lost", name, str(goal) if goal else "", str(best), good, note))
    return rows


async def several(options: Options) -> list[Row]:
    """Two relay processes on one core against one with half the rooms: each has the same work, so a packet must cost the same.

    By our own generator: rtcload knows one relay at a time.
    """
    rows = []
    for name in options.forms:
        alone, both = [], []
        for round_ in range(options.repeat):
            options.tell(f"several {name} {round_ + 1}/{options.repeat}")
            plan = Plan(rooms=40, seconds=options.seconds)
            with Ours(options.forms[name]) as a:
                alone.append(await run(replace(plan, base=(a.base,), pids=(a.pid,))))
            with Ours(options.forms[name]) as a, Ours(options.forms[name]) as b:
                both.append(await run(replace(plan, rooms=80, base=(a.base, b.base), pids=(a.pid, b.pid))))
        ratio = statistics.median(r.cpu_us for r in both) / max(statistics.median(r.cpu_us for r in alone), 1e-9)
        measured = f"{1 / ratio:.2f} times one's rate for the same CPU"
        what = "two relay processes of 40 rooms each on one core"
        rows.append(Row(what, name, ">= 0.85", measured, ratio <= 1 / 0.85, noise(alone + both)))
    return rows


async def delay(options: Options) -> list[Row]:
    """What the relay adds to p99 at half load, against the tool without a relay."""
    rows = []
    for name in options.forms:
        relayed, direct = [], []
        for round_ in range(options.repeat):
            options.tell(f"delay {name} {round_ + 1}/{options.repeat}")
            plan = Plan(rooms=50, seconds=options.seconds)
            direct.append(await one(options, plan, None))
            with start(options, name) as relay:
                relayed.append(await one(options, plan, relay))
        p99, floor = statistics.median(r.p99 for r in relayed), statistics.median(r.p99 for r in direct)
        note = f"{p99:.2f} ms, without a relay {floor:.2f} ms; {noise(relayed)}"
        rows.append(Row("delay added at p99, 50 rooms, ms", name, "5", f"{p99 - floor:.2f}", p99 - floor <= 5, note))
    return rows


async def loss(options: Options) -> list[Row]:
    """5% of the packets lost at each watcher, after recovery."""
    rows = []
    for name in options.forms:
        options.tell(f"loss {name}")
        with start(options, name) as relay:
            assert isinstance(relay, Ours)
            got = await run(Plan((relay.base,), (relay.pid,), rooms=20, seconds=max(20, options.seconds), loss=0.05))
        note = f"{got.dropped} dropped, {got.rtx} by RTX, {got.duplicates} twice; {noise([got], lost=False)}"
        for what, missing in (("video", got.missing_video), ("sound, NACK offered", got.missing_audio)):
            good = missing < 0.3 and not got.corrupt and got.received > 0
            rows.append(Row(f"5% loss at the watcher: missing {what}, %", name, "0.3", f"{missing:.3f}", good, note))
    return rows


class Behind:
    """Our relay behind an impairment proxy, with a load of one room or a few."""

    def __init__(self, more: str, plan: Plan) -> None:
        self._more, self._plan = more, plan

    async def __aenter__(self) -> "Behind":
        self.link = await Impairment(seed=self._plan.seed).__aenter__()
        self.relay = Ours(self._more, announce=self.link.address)
        self.link.target = ("127.0.0.1", self.relay.udp)
        await asyncio.to_thread(self.relay.__enter__)
        self.load = Load(replace(self._plan, base=(self.relay.base,), pids=(self.relay.pid,)))
        await self.load.__aenter__()
        if self.load.failed:
            await self.__aexit__()
            raise SystemExit(f"no session: {self.load.failed[0]}")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.load.__aexit__()
        await asyncio.to_thread(self.relay.stop)
        await self.link.__aexit__()

    def watchers_only(self, up: Link, down: Link) -> None:
        """Settings of the watchers' links; publishers keep theirs."""
        for watcher in self.load.watchers:
            self.link.only(watcher.transport.ufrag, up, down)


async def sound(options: Options) -> list[Row]:
    """Sound through 20% random loss each way and 300 ms round trip at the watcher."""
    rows = []
    for name, more in options.forms.items():
        options.tell(f"sound {name}")
        async with Behind(more, Plan(rooms=3, seconds=options.sound_seconds, warm=5)) as world:
            world.watchers_only(Link(loss=0.2, delay=150), Link(loss=0.2, delay=150))
            for watcher in world.load.watchers:
                watcher.round_trip = 0.3
            got = await world.load.measure()
        good = got.silence_ms <= 200 and got.received > 0
        missing = f"sound {got.missing_audio:.2f}%, video {got.missing_video:.2f}%"
        note = f"{options.sound_seconds:.0f} s, 3 watchers; missing after recovery: {missing}; {noise([got], lost=False)}"
        rows.append(Row("20% loss, 300 ms: longest gap in the sound, ms", name, "200", f"{got.silence_ms:.0f}", good, note))
    return rows


async def thin(options: Options) -> list[Row]:
    """Watchers' links fall from 1 Mbit/s to 100 kbit/s for 30 s and return: sound, and when the highest layer is back.

    Each link queues up to 300 ms. What is in flight at the fall is in that queue before any relay can know: no sound comes for as long as
    the link takes for it (at most the queue, a packet of video and one of sound). Afterwards nothing but the relay's doing makes a gap.
    """
    rows = []
    queue = 0.3
    unavoidable = queue + 1_150 * 8 / 1e5 + 0.02
    for name, more in options.forms.items():
        options.tell(f"thin link {name}")
        async with Behind(more, Plan(rooms=6, layers=LAYERS)) as world:
            watchers = world.load.watchers
            tops = {publisher.sources[-1].id for publisher in world.load.publishers}
            for watcher in watchers:
                watcher.trace = True
            wide, narrow = (Link(rate=rate, queue=queue * 1000, delay=30) for rate in (1e6, 1e5))
            world.watchers_only(wide, wide)
            await asyncio.sleep(20)
            world.load.window.begin, world.load.window.end = time.monotonic_ns(), time.monotonic_ns() + 45 * 10**9
            fell = time.monotonic()
            world.watchers_only(narrow, narrow)
            await asyncio.sleep(30)
            returned = time.monotonic()
            world.watchers_only(wide, wide)
            await asyncio.sleep(20)
        backs = [next((at - returned for at, s in w.arrived if at > returned and s in tops), 99.0) for w in watchers]
        gaps = [(b - a, a - fell) for w in watchers for a, b in pairwise(w.heard) if a > fell - 0.5]
        first = max((gap for gap, at in gaps if at < 0.6), default=99.0)
        later = max((gap for gap, at in gaps if at >= 0.6), default=99.0)
        sent = sum(publisher.sources[0].sent for publisher in world.load.publishers)
        heard = sum(len(got.seen) for w in watchers for stream, got in w.got.items() if not stream % 16)
        layers = {n: sum(s % 16 == n for w in watchers for at, s in w.arrived if fell + 5 < at < returned) for n in (1, 2, 3)}
        shares = "/".join(map(str, layers.values()))
        note = f"6 watchers; sound lost {100 * (1 - heard / max(sent, 1)):.2f}%; packets of q/h/f at 100 kbit/s {shares}"
        what, bound = "link falls to 100 kbit/s: gap in the sound", f"{unavoidable * 1000:.0f}"
        why = "goal: what is in the link's own queue of 300 ms"
        rows.append(Row(f"{what} at the fall, ms", name, bound, f"{first * 1000:.0f}", first <= unavoidable, why))
        rows.append(Row(f"{what} after that, longest, ms", name, "200", f"{later * 1000:.0f}", later <= 0.2, note))
        text = f"{max(backs):.1f}" if max(backs) < 99 else "not in 20"
        rows.append(Row("link returns to 1 Mbit/s: highest layer back, s", name, "10", text, max(backs) <= 10))
    return rows


async def cut(options: Options) -> list[Row]:
    """All links cut for 20 s; when they return everyone comes from a new port."""
    rows = []
    for name, more in options.forms.items():
        options.tell(f"cut {name}")
        async with Behind(more, Plan(rooms=2, two_way=True)) as world:
            for peer in [*world.load.publishers, *world.load.watchers]:
                peer.transport.check_seconds = 1.0  # as a browser does that hears nothing
            await asyncio.sleep(4)
            world.link.cut(20)
            await asyncio.sleep(1)
            for watcher in world.load.watchers:
                watcher.sound_back = watcher.video_back = 0.0
            await asyncio.sleep(18.5)
            world.link.rebind()
            returned = time.monotonic() + 0.5
            await asyncio.sleep(10.5)
            late = [(at or float("inf")) - returned for w in world.load.watchers for at in (w.sound_back, w.video_back)]
        measured = f"{max(late):.1f}" if max(late) < 30 else f"not in 10 ({sum(x > 30 for x in late)} of {len(late)})"
        rows.append(Row("link cut for 20 s, new addresses: sound and picture back, s", name, "3", measured, max(late) <= 3))
    return rows


async def first(options: Options) -> list[Row]:
    """From a watcher's request to the last packet of its first keyframe, 100 ms round trip."""
    rows = []
    for name, more in options.forms.items():
        options.tell(f"first frame {name}")
        async with Behind(more, Plan(rooms=1, watchers=1)) as world:
            world.link.both(delay=50)
            took = []
            for n in range(10):
                watcher = await world.load.watch(0, "a", world.load.publishers[0], f"first{n}")
                for _ in range(100):
                    if watcher.first_frame:
                        break
                    await asyncio.sleep(0.05)
                took.append(watcher.first_frame - world.load.joined[watcher] if watcher.first_frame else 5.0)
        good = max(took) <= 1.5
        note = f"median {statistics.median(took):.2f} of 10; ICE, DTLS, keyframe; the signalling request itself is not delayed"
        rows.append(Row("first frame of a new watcher at 100 ms round trip, s", name, "1.5", f"{max(took):.2f}", good, note))
    return rows


SCENARIOS: Final[dict[str, Callable[[Options], Awaitable[list[Row]]]]] = {
    "cost": cost, "capacity": capacity, "several": several, "delay": delay, "loss": loss, "sound": sound, "thin": thin, "cut": cut,
    "first": first,
}  # fmt: skip
