"""Does a queue grow on the way? The trend of delay between groups of packets, and a threshold that adapts (GCC-02, section 5)."""

from collections.abc import Iterable
from typing import Final

from .twcc import Acknowledged, Digest

NORMAL: Final = 0
OVER: Final = 1  # a queue grows: more is sent than the link carries
UNDER: Final = -1  # a queue drains

BURST = 0.005  # s; packets that left within it are one group
WINDOW = 20  # groups in the line fitted
SMOOTHING = 0.9
GAIN = 4.0
COUNT_LIMIT = 60
OVER_TIME = 0.010  # s above the threshold before it counts
THRESHOLD_START, THRESHOLD_LOW, THRESHOLD_HIGH = 12.5, 6.0, 600.0  # ms
THRESHOLD_JUMP = 15.0  # ms; spikes beyond it do not move the threshold
UP, DOWN = 0.0087, 0.039  # how fast the threshold follows, per ms
REBASE_MS = 30_000.0


class Trend:
    """Feeds on acknowledged packets, tells `state`; `jitter` is the mean difference between groups, seconds."""

    __slots__ = (
        "_above",
        "_arrived",
        "_count",
        "_delay",
        "_first_arrived",
        "_first_sent",
        "_last_arrived",
        "_last_point",
        "_last_sent",
        "_over",
        "_previous",
        "_sent",
        "_smoothed",
        "_sums",
        "_threshold",
        "_xs",
        "_ys",
        "_zero",
        "jitter",
        "state",
    )

    def __init__(self) -> None:
        self._threshold = THRESHOLD_START
        self.jitter = 0.0
        self.restart()

    def restart(self) -> None:
        """Forgets the packets but not what was learned of the link: after a probe, a pause or a jump of the receiver's clock."""
        self.state = NORMAL
        self._first_sent = self._sent = self._arrived = -1.0  # the group being gathered
        self._first_arrived = 0.0
        self._last_sent = self._last_arrived = -1.0  # the group before it
        self._count = 0
        self._delay = self._smoothed = 0.0
        self._previous = 0.0
        self._over = -1.0  # s above the threshold; -1: below
        self._above = 0
        self._last_point = -1.0
        self._zero = 0.0
        self._xs: list[float] = []
        self._ys: list[float] = []
        self._sums = (0.0, 0.0, 0.0, 0.0)

    def follow(self, digest: Digest) -> int:
        """The state after the packets of a feedback."""
        return self.state if digest.fed else self.feed(digest.packets)

    def feed(self, packets: Iterable[Acknowledged]) -> int:
        """The state after these packets, in order of sequence; lost ones are passed over."""
        first_sent, sent, first_arrived, arrived = self._first_sent, self._sent, self._first_arrived, self._arrived
        for left, came, _ in packets:
            if came is None:
                continue
            if first_sent < 0.0:
                first_sent, sent, first_arrived, arrived = left, left, came, came
                continue
            if left < first_sent:
                continue
            if left - first_sent <= BURST or (came - arrived <= BURST and came - arrived < left - sent and came - first_arrived < 0.1):
                if left > sent:  # of the same group, or sent apart and delivered together by a link that gathers
                    sent = left
                if came > arrived:
                    arrived = came
                continue
            if self._last_sent >= 0.0:
                gap = arrived - self._last_arrived
                if gap > 3.0 or gap < -0.5:
                    self.restart()
                else:
                    self._point(gap, sent - self._last_sent, arrived)
            self._last_sent, self._last_arrived = sent, arrived
            first_sent, sent, first_arrived, arrived = left, left, came, came
        self._first_sent, self._sent, self._first_arrived, self._arrived = first_sent, sent, first_arrived, arrived
        return self.state

    def _point(self, arrival_gap: float, send_gap: float, arrived: float) -> None:
        difference = (arrival_gap - send_gap) * 1e3
        self.jitter += (abs(difference) * 1e-3 - self.jitter) * 0.05
        self._count = count = min(self._count + 1, COUNT_LIMIT)
        self._delay += difference
        self._smoothed = y = SMOOTHING * self._smoothed + (1 - SMOOTHING) * self._delay
        xs, ys = self._xs, self._ys
        if not xs:
            self._zero = arrived
        x = (arrived - self._zero) * 1e3
        sx, sy, sxy, sxx = self._sums
        xs.append(x)
        ys.append(y)
        sx, sy, sxy, sxx = sx + x, sy + y, sxy + x * y, sxx + x * x
        if len(xs) > WINDOW:
            ox, oy = xs.pop(0), ys.pop(0)
            sx, sy, sxy, sxx = sx - ox, sy - oy, sxy - ox * oy, sxx - ox * ox
        self._sums = (sx, sy, sxy, sxx)
        if x > REBASE_MS:
            self._rebase()
        n = len(xs)
        trend = self._previous
        if n == WINDOW:
            spread = n * sxx - sx * sx
            if spread > 0.0:
                trend = (n * sxy - sx * sy) / spread
        self._judge(trend, count, send_gap, arrived)

    def _rebase(self) -> None:
        """Moves x to zero, so that running sums neither grow nor drift over hours."""
        base = self._xs[0]
        self._zero += base * 1e-3
        self._xs = xs = [x - base for x in self._xs]
        ys = self._ys
        self._sums = (sum(xs), sum(ys), sum(x * y for x, y in zip(xs, ys, strict=True)), sum(x * x for x in xs))

    def _judge(self, trend: float, count: int, send_gap: float, arrived: float) -> None:
        value = count * trend * GAIN
        threshold = self._threshold
        if value > threshold:
            self._over = send_gap / 2 if self._over < 0.0 else self._over + send_gap
            self._above += 1
            if self._over > OVER_TIME and self._above > 1 and trend >= self._previous:
                self._over = 0.0
                self._above = 0
                self.state = OVER
        else:
            self._over = -1.0
            self._above = 0
            self.state = UNDER if value < -threshold else NORMAL
        self._previous = trend
        size = abs(value)
        if size <= threshold + THRESHOLD_JUMP and self._last_point >= 0.0:
            passed = min((arrived - self._last_point) * 1e3, 100.0)
            threshold += (UP if size > threshold else DOWN) * (size - threshold) * passed
            self._threshold = min(max(threshold, THRESHOLD_LOW), THRESHOLD_HIGH)
        self._last_point = arrived
