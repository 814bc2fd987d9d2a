"""Probing: a short burst above the estimate tells whether the link carries more, before anything that matters depends on it."""

from dataclasses import dataclass, field

from .twcc import Acknowledged

MIN_PACKETS = 5
SECONDS, SECONDS_LIMIT = 0.05, 0.2
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
    seconds = min(SECONDS_LIMIT, SECONDS + 3.0 * jitter)
    packet = max(100, min(1_100, int(rate * seconds / 8 / (MIN_PACKETS + 2))))
    return Probe(int(rate), seconds, now, packet=packet)


def outcome(seen: list[Acknowledged], usual_loss: float) -> Outcome | None:
    """None: too little came back to tell. Rates leave out the last packet sent and the first arrived (their time is outside the span)."""
    came = [packet for packet in seen if packet[1] is not None]
    lost = len(seen) - len(came)
    if len(came) < 4:
        return None
    first, last = came[0][0], came[-1][0]
    arrivals = sorted((arrival, size) for _, arrival, size in came if arrival is not None)
    send_span, arrival_span = last - first, arrivals[-1][0] - arrivals[0][0]
    tail = sum(size for sent, _, size in came if sent > last - 0.002)  # a tick sends several at once
    total = sum(size for _, _, size in came)
    if send_span <= 0.005 or arrival_span <= 0.001 or total <= tail:
        return None
    sent = (total - tail) * 8 / send_span
    arrived = (total - arrivals[0][1]) * 8 / arrival_span
    if arrived > sent * 2.5:  # delivered in one go by a link that gathers: says nothing of its rate
        return None
    offered = sent * (1.0 + sum(packet[2] for packet in seen if packet[1] is None) / total)
    dropped = lost / len(seen)
    full = arrived < FULL * sent or dropped > usual_loss + 0.2
    return Outcome(sent, arrived, offered, full, len(seen), lost)
