"""Probing: a short burst above the estimate tells whether the link carries more, before anything that matters depends on it."""

from dataclasses import dataclass, field

from .twcc import Acknowledged

MIN_PACKETS = 5
SECONDS, JITTERS, SECONDS_LIMIT = 0.05, 6.0, 0.2
SLACK = 0.015  # s after the plan's end within which packets still belong to it: timers are late
FULL = 0.9  # arriving slower than this share of the sending rate: the link was full
FULL_KEEP = 0.95


@dataclass(slots=True)
class Probe:
    """What the sender is asked to do: from `start` on, be at `rate` bit/s for `seconds`; media counts, padding or RTX fills the rest.

    Call `due(now)` at every tick (5 to 10 ms) and send that many octets of padding; tell `spent` what any packet took, media too.
    Padding packets of `packet` octets at most give enough of them to measure.
    """

    rate: int
    seconds: float
    start: float
    sent: int = 0  # octets
    packet: int = 1_100
    seen: list[Acknowledged] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Octets of the whole burst."""
        return int(self.rate * self.seconds / 8)

    @property
    def end(self) -> float:
        return self.start + self.seconds + SLACK

    def spent(self, octets: int) -> None:
        self.sent += octets

    def due(self, now: float) -> int:
        """Octets of padding to send now; 0 when media fills the rate or the burst is over."""
        if now > self.end:
            return 0
        elapsed = min(now - self.start + 0.005, self.seconds)
        return max(0, int(self.rate * elapsed / 8) - self.sent)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a probe showed, bit/s: sending and arriving rate of the packets that arrived, whether the link was full, and losses."""

    sent: float
    arrived: float
    offered: float  # sending rate with the lost ones
    full: bool
    packets: int
    lost: int

    @property
    def rate(self) -> float:
        return self.arrived * FULL_KEEP if self.full else min(self.sent, self.arrived)


def plan(now: float, rate: float, jitter: float) -> Probe:
    """A burst long enough to outweigh the link's jitter (s) and to hold several packets."""
    seconds = min(SECONDS_LIMIT, SECONDS + JITTERS * jitter)
    packet = max(100, min(1_100, int(rate * seconds / 8 / (MIN_PACKETS + 2))))
    return Probe(int(rate), seconds, now, packet=packet)


def outcome(seen: list[Acknowledged], usual_loss: float) -> Outcome | None:
    """None: too little came back to tell. `usual_loss` is the share that this link lost before."""
    came = [(sent, arrival, size) for sent, arrival, size in seen if arrival is not None]
    lost = len(seen) - len(came)
    if len(came) < 5:
        return None
    sent = _rate([(left, size) for left, _, size in came])
    arrived = _rate(sorted((arrival, size) for _, arrival, size in came))
    if not sent or not arrived or arrived > sent * 3.0:  # delivered in one go by a link that gathers: says nothing of its rate
        return None
    offered = sent * (1.0 + sum(size for _, arrival, size in seen if arrival is None) / sum(size for _, _, size in came))
    full = arrived < FULL * sent or lost / len(seen) > usual_loss + 0.2
    return Outcome(sent, arrived, offered, full, len(seen), lost)


def _rate(packets: list[tuple[float, int]]) -> float:
    """bit/s by a line through (time, octets up to and with this packet): jitter of the outermost packets weighs less than by their span."""
    total = mean_time = mean_octets = 0.0
    points = []
    zero = packets[0][0]
    for time, size in packets:
        total += size
        points.append((time - zero, total - size / 2))
        mean_time += time - zero
        mean_octets += total - size / 2
    mean_time /= len(points)
    mean_octets /= len(points)
    spread = sum((octets - mean_octets) ** 2 for _, octets in points)
    slope = sum((time - mean_time) * (octets - mean_octets) for time, octets in points) / spread
    return 8.0 / slope if slope > 1e-8 else 0.0  # time over octets: the noise is in the times
