"""The rate that losses allow (GCC-02, section 6), told apart from losses that come whatever the rate: radio links lose at random."""

from collections import deque

WINDOW = 0.25  # s, and
WINDOW_PACKETS = 30  # packets in one observation
OBSERVATIONS = 24
TOLERATED = 0.10  # beyond the link's own loss, above it the rate falls
QUIET = 0.02  # below it the rate climbs
OWN_LIMIT = 0.5  # no link is believed to lose more than this on its own
UNLIMITED = float("inf")


class LossLimit:
    """`limit` in bit/s (infinite: losses say nothing), `own` the share lost whatever the rate, `recent` the share lost lately."""

    __slots__ = ("_before", "_bytes", "_lost", "_lost_bytes", "_packets", "_seen", "_since", "limit", "own", "recent", "sent_bps")

    def __init__(self) -> None:
        self.limit = UNLIMITED
        self.own = 0.0
        self.recent = 0.0
        self.sent_bps = 0.0
        self._before = 0.0  # the rate before an episode of losses, given back when they prove to be the link's own
        self._since = -1.0
        self._packets = self._lost = self._bytes = self._lost_bytes = 0
        self._seen: deque[tuple[float, float, int]] = deque(maxlen=OBSERVATIONS)  # bit/s sent, bit/s that arrived, packets

    def observe(self, packets: int, lost: int, octets: int, lost_octets: int, last_sent: float, current: float, minimum: float) -> None:
        """Counts of one feedback, the send time of its last packet, and the estimate in force; bit/s."""
        if self._since < 0.0 or last_sent - self._since > 5.0:
            self._since = last_sent
            self._packets = self._lost = self._bytes = self._lost_bytes = 0
            return
        self._packets += packets
        self._lost += lost
        self._bytes += octets
        self._lost_bytes += lost_octets
        passed = last_sent - self._since
        if passed < WINDOW or self._packets < WINDOW_PACKETS:
            return
        share = self._lost / self._packets
        self.sent_bps = sent = self._bytes * 8 / passed
        self.recent += (share - self.recent) * 0.25
        self.note(sent, (self._bytes - self._lost_bytes) * 8 / passed, self._packets)
        self._since = last_sent
        self._packets = self._lost = self._bytes = self._lost_bytes = 0
        self.step(share, sent, passed, current, minimum)

    def note(self, sent: float, arrived: float, packets: int) -> None:
        """One observation of how much arrives at a rate; probes are the most telling ones."""
        self._seen.append((sent, arrived, packets))

    def step(self, share: float, sent: float, passed: float, current: float, minimum: float) -> None:
        """Moves the limit by one observation: share lost at `sent` bit/s over `passed` seconds."""
        if self.recent > QUIET:
            self._learn()
        self.own = min(self.own, self.recent + 0.02)
        beyond = (share - self.own) / (1.0 - self.own)
        if beyond > TOLERATED and self.recent - self.own > TOLERATED / 2:  # one unlucky window is not a trend
            start = min(self.limit, current)
            if self._before < start:
                self._before = start
            # never far below what the link was just offered: when that is less than allowed, the limit is not what hurts
            self.limit = max(start * (1.0 - 0.5 * min(beyond, 0.5)), min(start, sent * 0.85), minimum)
        elif beyond < QUIET or self.recent - self.own < QUIET:
            self._before = 0.0
            self.raise_by(1.0 + 0.2 * min(passed, 1.0), current)

    def raise_by(self, factor: float, current: float) -> None:
        """Climbs; a limit well above the estimate is none."""
        self.limit *= factor
        if self.limit > current * 2.0:
            self.limit = UNLIMITED

    def _learn(self) -> None:
        """Is what arrives proportional to what is sent (own losses), or does it stay the same (a full link)? A weighted line tells.

        Without enough spread in the rates nothing can be told, and losses count as congestion until the rate has moved.
        """
        seen = self._seen
        weight = sum(n for _, _, n in seen)
        mean_sent = sum(s * n for s, _, n in seen) / weight
        mean_arrived = sum(a * n for _, a, n in seen) / weight
        spread = sum((s - mean_sent) ** 2 * n for s, _, n in seen) / weight
        if len(seen) < 4 or weight < 100 or spread < (0.1 * mean_sent) ** 2:
            return
        slope = sum((s - mean_sent) * (a - mean_arrived) * n for s, a, n in seen) / weight / spread
        lost = 1.0 - mean_arrived / mean_sent
        if slope > 0.6 * (1.0 - lost):
            self.believe(min(lost, self.recent))
        elif slope < 0.3:
            self.own *= 0.5

    def believe(self, own: float) -> None:
        """The link loses `own` whatever the rate: what was taken for it is given back."""
        self.own = min(max(self.own, own), OWN_LIMIT)
        if self._before:
            self.limit = max(self.limit, self._before)
            self._before = 0.0
