"""A link in simulated time: rate, queue, delay, jitter and loss, all seeded; and a call over it with our estimator and allocator."""

import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from telemed.relay.allocate import Allocator, Choice, Wanted
from telemed.relay.estimator import Estimator
from telemed.relay.probe import Probe
from telemed.relay.twcc import FeedbackBuilder

from .feedback import parse

STEP = 0.005  # s


@dataclass
class Link:
    """One way. `rate` in bit/s by time; `queue` seconds at most of what is waiting (more is dropped)."""

    rate: Callable[[float], float]
    delay: float = 0.05
    jitter: float = 0.0
    loss: Callable[[float], float] = lambda _: 0.0
    queue: float = 0.6
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    free_at: float = 0.0
    last: float = 0.0

    def carry(self, now: float, size: int) -> float | None:
        """When a packet sent now arrives, None: never."""
        start = max(now, self.free_at)
        rate = self.rate(now)
        if rate <= 0 or start - now > self.queue:
            return None
        self.free_at = start + size * 8 / rate
        if self.rng.random() < self.loss(now):
            return None
        arrival = self.free_at + self.delay + self.rng.random() * self.jitter
        self.last = max(self.last, arrival)  # jitter does not reorder here
        return self.last


@dataclass
class Tick:
    time: float
    estimate: int
    choices: list[Choice]
    queue: float


@dataclass
class Call:
    """A subscriber: sound, and cameras in `layers` (rid -> bit/s at 30 frames a second, three temporal layers)."""

    link: Link
    layers: dict[str, int]
    audio: int = 40_000
    cameras: int = 1
    probe_steps: int = 1  # how many steps lie between looks at a running probe
    transport_wide: bool = True
    seed: int = 1
    ticks: list[Tick] = field(default_factory=list)
    audio_sent: Counter[int] = field(default_factory=Counter)  # by second
    audio_lost: Counter[int] = field(default_factory=Counter)
    audio_delay: list[tuple[float, float]] = field(default_factory=list)
    probes: list[tuple[float, Probe]] = field(default_factory=list)
    probe_octets: int = 0

    def wanted(self) -> list[Wanted]:
        layers = [(rid, temporal, int(rate * share)) for rid, rate in self.layers.items() for temporal, share in enumerate((0.5, 0.7, 1.0))]
        return [Wanted("sound", "audio", [("", -1, self.audio)]), *(Wanted(f"camera{n}", "video", layers) for n in range(self.cameras))]

    def run(self, seconds: float) -> "Call":
        rng = random.Random(self.seed)
        estimator, allocator, builder = Estimator(0.0), Allocator(), FeedbackBuilder()
        self.estimator, self.allocator = estimator, allocator
        way: deque[tuple[float, int]] = deque()  # arrival, sequence
        back: deque[tuple[float, list[bytes]]] = deque()
        sequence = 0
        probe: Probe | None = None
        choices = allocator.choose(0.0, estimator.bitrate, self.wanted(), estimator.proven)
        debts = [0.0] * self.cameras
        sent = lost = octets = 0

        def send(now: float, size: int, audio: bool = False) -> None:
            nonlocal sequence, sent, lost, octets
            estimator.history.sent(sequence, now, size)
            if probe is not None:
                probe.spent(size)
            arrival = self.link.carry(now, size)
            sent += 1
            octets += size
            if audio:
                self.audio_sent[int(now)] += 1
            if arrival is not None:
                way.append((arrival, sequence))
                if audio:
                    self.audio_delay.append((now, arrival - now))
            else:
                lost += 1
                if audio:
                    self.audio_lost[int(now)] += 1
            sequence = sequence + 1 & 0xFFFF

        for step in range(int(seconds / STEP)):
            now = step * STEP
            while way and way[0][0] <= now:
                arrival, seq = way.popleft()
                builder.record(seq, int(arrival * 1e6) + 77_000_000)
            if step % 10 == 0 and self.transport_wide and (packets := builder.take(1, 2)):
                back.append((now + self.link.delay, packets))
            while back and back[0][0] <= now:
                for packet in back.popleft()[1]:
                    estimator.on_feedback(now, parse(packet)[2])
            if step % 200 == 199 and not self.transport_wide and sent:
                estimator.on_report(now, lost / sent, self.link.delay * 2 + max(0.0, self.link.free_at - now), octets * 8.0)
                sent = lost = octets = 0
            if step % 4 == 0:
                send(now, self.audio // 400, audio=True)
            for camera in range(self.cameras):
                if (step + camera * 2) % 7:
                    continue  # a frame every 35 ms
                debts[camera] += choices[camera + 1].bitrate * 7 * STEP / 8 * (0.8 + 0.4 * rng.random())
                while debts[camera] > 0:
                    size = int(min(1_100, max(debts[camera], 200)))
                    debts[camera] -= size
                    send(now, size)
            if probe is not None and step % self.probe_steps == 0:
                due = probe.due(now)
                while due > 0:
                    self.probe_octets += min(due, probe.packet)
                    send(now, max(60, min(due, probe.packet)))
                    due = probe.due(now)
                if now > probe.end:
                    probe = None
            if step % 10 == 5:
                estimator.want(allocator.following, allocator.everything)
                found = estimator.poll(now)
                if found is not None:
                    probe = found
                    self.probes.append((now, found))
            if step % 20 == 15:
                choices = allocator.choose(now, estimator.bitrate, self.wanted(), estimator.proven)
                self.ticks.append(Tick(now, estimator.bitrate, choices, max(0.0, self.link.free_at - now)))
        return self

    def switches(self, start: float, stop: float) -> int:
        """Changes of what is forwarded of the cameras."""
        seen = [[(choice.rid, choice.temporal) for choice in tick.choices[1:]] for tick in self.ticks if start <= tick.time < stop]
        return sum(a != b for before, after in pairwise(seen) for a, b in zip(before, after, strict=True))

    def estimates(self, start: float, stop: float) -> list[int]:
        return sorted(tick.estimate for tick in self.ticks if start <= tick.time < stop)

    def show(self) -> None:
        for tick in self.ticks[::5]:
            video = tick.choices[1]
            print(f"{tick.time:7.2f} {tick.estimate:9d} {video.rid:>2}{video.temporal:3d} {video.bitrate:8d} queue {tick.queue:.3f}")
