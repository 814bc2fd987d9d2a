"""What a subscriber's link carries, estimated by the sender in the manner of draft-ietf-rmcat-gcc-02: delay trend, losses, probing."""

from collections.abc import Sequence

from .loss import UNLIMITED, LossLimit
from .probe import Probe, outcome, plan
from .trend import NORMAL, OVER, Trend
from .twcc import Digest, SendHistory

START, MINIMUM, MAXIMUM = 300_000, 30_000, 20_000_000  # bit/s
BETA = 0.85  # of what arrives, after overuse
RISE = 1.08  # a second, while the link's capacity is unknown
AHEAD, AHEAD_BPS = 1.5, 10_000  # the estimate runs at most so far ahead of what arrives; only probes go further
CAPACITY_BAND = 0.15
KNOWN_FOR = 300.0  # s for which a rate once carried is worth asking for again
PROBE_EVERY, PROBE_LOW, PROBE_HIGH = 1.5, 4.0, 20.0  # s between probes: at first, at most while little gets through, at most otherwise
LOW_BPS = 300_000
PROBE_FIRST, PROBE_NEXT = 1.5, 2.5  # times the estimate: gently at first, boldly after one that went through
REMB_HOLDS = 5.0  # s for which a receiver's estimate counts
SHOWN_FOR = 25.0  # s for which a probe that found the link full keeps the estimate from running ahead
REPORTS_WAIT, REPORTS_WAIT_LIMIT = 8.0, 60.0  # s for which a rate that failed is not tried again, without transport-wide feedback
QUEUE_FREE, QUEUE_CUT = 0.12, 0.6  # s of standing queue left alone; the most that is held back to drain one
CHOKED = 0.7  # share of what is sent; less that arrives while a queue has grown over two feedbacks is a link that has just become slower
QUEUE_SERIOUS = 0.06  # s; below it the decrease after overuse is gentler in proportion: jitter looks like a queue that begins
STALL, STALL_GRACE = 0.2, 0.6  # s without any arrival, and s for which what it did to delays is overlooked
BASE_WINDOW = 10.0  # s for which a lowest delay counts (twice)
PROOF = 4  # measured rates of arrival, or receiver reports, before the estimate is believed
RATE_SPAN = 8.0  # s: longer than twcc.Gather waits; over a longer pause no rate is counted
SILENCE = 1.0  # s without feedback while sending: the link is cut or chokes


class Estimator:
    """One subscriber's link. Times are float seconds of one steady clock, rates bit/s on the wire.

    `history.sent(...)` for every packet; `on_feedback`, `on_report`, `on_remb` as they come; `want` what could be used;
    `poll` every 50 to 100 ms, it may return a Probe to carry out; `bitrate` is the estimate.
    """

    __slots__ = (
        "_acked",
        "_base",
        "_base_before",
        "_base_since",
        "_bytes",
        "_capacity",
        "_choked",
        "_decreased",
        "_delay_rate",
        "_feedback",
        "_interval",
        "_known",
        "_known_at",
        "_last_sample",
        "_most",
        "_newest",
        "_next_probe",
        "_probe",
        "_remb",
        "_remb_at",
        "_samples",
        "_shown",
        "_shown_at",
        "_since",
        "_stalled_until",
        "_tail",
        "_tried",
        "_trip",
        "_trip_at",
        "_updated",
        "_wait",
        "_wait_until",
        "_want_all",
        "_want_next",
        "history",
        "loss",
        "maximum",
        "minimum",
        "queue",
        "round_trip",
        "transport_wide",
        "trend",
    )

    def __init__(
        self, now: float, start: int = START, minimum: int = MINIMUM, maximum: int = MAXIMUM, history: SendHistory | None = None,
        trend: Trend | None = None,
    ) -> None:
        self.history = history or SendHistory()
        self.minimum, self.maximum = minimum, maximum
        self.trend = trend or Trend()
        self.loss = LossLimit()
        self.round_trip = 0.2  # s
        self.queue = 0.0  # s, standing queue on the way to the subscriber
        self.transport_wide = False
        self._delay_rate = float(start)
        self._acked = 0.0
        self._most = 0.0  # that ever arrived, bit/s
        self._tried = False  # whether the link has shown anything of what it carries: `start` is a guess
        self._last_sample = 0.0
        self._bytes = 0
        self._samples = 0
        self._since = -1.0  # arrival that opened the window of the acknowledged rate
        self._base = self._base_before = UNLIMITED  # lowest arrival minus send: both clocks' offset and the way
        self._base_since = now
        self._newest = -1.0  # last arrival
        self._stalled_until = float("-inf")
        self._capacity = 0.0  # what arrived when the link was last full; 0: unknown
        self._decreased = float("-inf")
        self._updated = now
        self._feedback = now
        self._known = 0.0
        self._known_at = now
        self._probe: Probe | None = None
        self._next_probe = now
        self._interval = PROBE_EVERY
        self._shown, self._shown_at = UNLIMITED, float("-inf")  # what the last probe showed of a full link
        self._want_next = self._want_all = 0.0
        self._choked = 0.0  # what arrives on a link that has just become slower; 0: none such
        self._tail = (0.0, 0, -1.0)  # of the last feedback: delay of its last packet beyond the least, octets, and the arrival before it
        self._trip = self._trip_at = UNLIMITED  # lowest round trip of late, and until when it counts
        self._wait, self._wait_until = REPORTS_WAIT, float("-inf")
        self._remb = UNLIMITED
        self._remb_at = float("-inf")

    @property
    def bitrate(self) -> int:
        """The estimate, less what is held back while a queue drains."""
        rate = min(self._delay_rate, self.loss.limit)
        if not self._tried and self._most:  # a guess, good for as much more than what arrives as an estimate is
            rate = min(rate, AHEAD * self._most + AHEAD_BPS)
        if self.queue > QUEUE_FREE and self._stalled_until < self._feedback:
            rate *= 1.0 - min(QUEUE_CUT, (self.queue - QUEUE_FREE) * 2.0)
        return int(max(self.minimum, min(rate, self.maximum, self._remb)))

    @property
    def proven(self) -> bool:
        """Whether the receiver has told enough for the estimate to be more than a guess."""
        return self._samples >= PROOF or self._remb < UNLIMITED

    @property
    def least(self) -> float:
        """The least delay known of late, s, with the offset of both clocks."""
        return min(self._base, self._base_before)

    @property
    def choked(self) -> bool:
        """Whether the last feedback told of a link that has just become much slower than what is sent."""
        return self._choked > 0.0

    @property
    def acknowledged(self) -> int:
        """bit/s that arrive."""
        return int(self._acked)

    def want(self, following: int, everything: int) -> None:
        """What the next better choice of layers needs, and the best one: probing stops where nothing more is wanted."""
        self._want_next, self._want_all = float(following), float(everything)

    # feedback

    def on_feedback(self, now: float, arrivals: Sequence[tuple[int, int | None]]) -> None:
        """`arrivals` of an rtcp.TransportFeedback: (sequence, arrival in us or None)."""
        self.take(now, Digest(self.history.apply(arrivals)))

    def on_body(self, now: float, body: bytes) -> None:
        """The same, of a feedback as it came (`SendHistory.digest`). Raises WireError."""
        self.take(now, self.history.digest(body))

    def take(self, now: float, told: Digest) -> None:
        """What a feedback told moves the estimate."""
        if not told.count:
            return
        if not self.transport_wide:
            self.transport_wide = True
            self._remb = UNLIMITED
            self._next_probe = now
        if (now - self._feedback if told.gap is None else told.gap) > SILENCE:  # back after a cut: what was known is asked for at once
            self.trend.restart()
            self._since = self._newest = -1.0
            self._base = self._base_before = UNLIMITED
            self._interval = PROBE_EVERY
            self._next_probe = now
        self._feedback = now
        probe = self._probe
        probing = probe is not None and self._collect(probe, told, now)
        if told.first is not None:
            self._stall(now, told.first, self._newest if told.before is None else told.before)
            self._time(now, told)
        if not probing:  # a probe fills queues on purpose; the trend starts anew behind it
            self.loss.observe(
                told.count, told.lost, told.octets + told.lost_octets, told.lost_octets, told.last_sent, self._delay_rate, self.minimum
            )
            self._adapt(now, self.trend.follow(told))

    def _stall(self, now: float, first: tuple[float, float], newest: float) -> None:
        """A handover holds all back for a moment and then delivers it at once: that is no slower link, and nothing is lowered for it."""
        left, came = first
        if STALL < came - newest < 3.0 and came - left - min(self._base, self._base_before) > STALL * 0.75:
            self._stalled_until = now + STALL_GRACE
            self._since = -1.0  # the rate is counted from behind the hole

    def _time(self, now: float, told: Digest) -> None:
        """Round trip, standing queue and the rate that arrives."""
        delay, octets, newest = told.delay, told.octets, max(self._newest, told.newest)
        sample = now - told.last_sent
        if 0.0 < sample < 10.0:
            self.round_trip += (sample - self.round_trip) * (0.1 if sample > self.round_trip else 0.3)
        if now - self._base_since > BASE_WINDOW:
            self._base_before, self._base, self._base_since = self._base, delay, now
        elif delay < self._base:
            self._base = delay
        queue = delay - min(self._base, self._base_before)
        self.queue += (queue - self.queue) * (0.5 if queue > self.queue else 0.7)
        self._choke(told, newest, now)
        self._newest = newest
        if self._since < 0.0 or newest - self._since > RATE_SPAN:
            self._since, self._bytes = newest, 0
            return
        self._bytes += octets
        passed = newest - self._since
        if passed >= 0.2:
            self._samples += 1
            self._last_sample = rate = self._bytes * 8 / passed
            self._acked = rate if not self._acked else self._acked + (rate - self._acked) * 0.4
            self._most = max(self._most, self._acked)
            self._since, self._bytes = newest, 0

    def _choke(self, told: Digest, newest: float, now: float) -> None:
        """A link that has just become much slower, by two feedbacks and long before the trend tells.

        What is sent meanwhile queues before the sound or pushes it out of the queue. Packets that were only held back do not look so: by
        the second feedback they came in a bunch.
        """
        tail = told.tail - min(self._base, self._base_before)
        before, octets, since = self._tail
        self._tail = tail, told.octets, self._newest
        self._choked = 0.0
        if tail > QUEUE_FREE and before > QUEUE_FREE / 2 and tail > 0.8 * before and now >= self._stalled_until and since >= 0.0:
            arriving = (told.octets + octets) * 8 / max(newest - since, 0.02)
            if arriving < CHOKED * self.loss.sent_bps:
                self._choked = arriving
                self.queue = max(self.queue, tail)

    def _adapt(self, now: float, state: int) -> None:
        """The delay-based rate: additive or multiplicative increase, decrease to a share of what arrives (GCC-02, section 5.5)."""
        passed = min(now - self._updated, 1.0)
        self._updated = now
        acked = self._acked
        if not acked:
            return
        rate = self._delay_rate
        if state == OVER or self._choked:
            if now - self._decreased < min(max(self.round_trip, 0.05), 0.3) or now < self._stalled_until:
                return
            self._decreased = now
            self._tried = True
            # a queue that just begins says little of the last sample; a long one was made by a link that became slower
            arriving = min(acked, self._last_sample * 1.2) if self.queue > QUEUE_FREE else max(acked, self._last_sample)
            if self._choked:
                arriving = self._choked
            # and in proportion to the queue that stands: where every packet of late came through at once, a moment of held-back packets
            # (a busy phone, Wi-Fi) looks like a trend and is none, and what arrived in that moment says nothing of the link
            serious = min(1.0, self.queue / QUEUE_SERIOUS)
            lower = rate + (BETA * arriving - rate) * serious
            if self.loss.sent_bps < 0.6 * rate and arriving > 0.9 * self.loss.sent_bps and self.queue < QUEUE_FREE:
                lower = max(lower, BETA * rate)  # little was sent and all of it arrives: it says nothing of what the link carries
            if lower < rate:
                if lower < 0.7 * rate and rate > self._known:
                    self._known = rate
                if lower < 0.7 * rate:
                    self._known_at = now
                    self._interval = PROBE_EVERY
                self._next_probe = max(self._next_probe, now + PROBE_EVERY)
                self._delay_rate = max(lower, float(self.minimum))
            band = CAPACITY_BAND * self._capacity
            self._capacity = acked if abs(acked - self._capacity) > band else self._capacity + (acked - self._capacity) * 0.3
        elif state == NORMAL and self.queue < QUEUE_FREE:  # while a queue drains the rate is held
            if self._capacity and acked > self._capacity * (1.0 + CAPACITY_BAND):
                self._capacity = 0.0
            if self._samples < 3 * PROOF and min(acked, self._last_sample) > rate:
                raised = min(acked, self._last_sample)  # it arrives, and no queue grows: that much the link carries
            elif self._capacity and rate > self._capacity * (1.0 - CAPACITY_BAND):
                raised = rate + max(4_000.0, 8_000.0 / (self.round_trip + 0.1)) * passed
            else:
                raised = rate * RISE**passed + 1_000.0 * passed
            ceiling = AHEAD * acked + AHEAD_BPS
            if now - self._shown_at < SHOWN_FOR:
                ceiling = min(ceiling, max(1.1 * self._shown, 1.1 * acked))
            if raised > ceiling:
                raised = max(rate, ceiling)
            self._delay_rate = min(raised, float(self.maximum))

    # probing

    def poll(self, now: float) -> Probe | None:
        """Every 50 to 100 ms: notices silence, and asks for a probe when more is wanted and it is time for one."""
        if now - self._remb_at > REMB_HOLDS:
            self._remb = UNLIMITED
        probe = self._probe
        if probe is not None:
            if now > probe.end + max(1.0, 3.0 * self.round_trip):  # nothing came back of it
                self._finish(probe, now)
            return None
        if now - self._feedback > max(SILENCE, 2.0 * self.round_trip) and self.history.last_sent > self._feedback and self.transport_wide:
            if now - self._updated >= 0.5:
                self._updated = now
                if self._delay_rate > self._known:
                    self._known, self._known_at = self._delay_rate, now
                self._delay_rate = max(float(self.minimum), self._delay_rate * 0.7)
            return None
        if now < self._next_probe or not (self.transport_wide or self._remb < UNLIMITED):
            return None
        rate = float(self.bitrate)
        if rate >= self._want_all or self.queue > QUEUE_FREE or self.trend.state == OVER:
            return None
        goal = PROBE_FIRST * rate
        if self._interval == 0.0:  # the last one went through: straight for what the link carried before
            known = self._known if now - self._known_at < KNOWN_FOR else 0.0
            goal = max(PROBE_NEXT * rate, min(known, 10.0 * rate))
            self._interval = PROBE_EVERY
        self._probe = plan(now, min(goal, self._want_all * 1.1, float(self.maximum)), self.trend.jitter)
        return self._probe

    def _collect(self, probe: Probe, told: Digest, now: float) -> bool:
        """Takes the packets of the probe's time; true while they must be kept from the trend."""
        if told.last_sent < probe.start:
            return False
        start, end = probe.start, probe.end
        probe.seen += [packet for packet in told.packets if start <= packet[0] <= end]
        if told.last_sent > end or now > end + self.round_trip + 0.1:
            self._finish(probe, now)
        return True

    def _finish(self, probe: Probe, now: float) -> None:
        self._probe = None
        self.trend.restart()
        usual = self.loss.recent
        result = outcome(probe.seen, usual)
        longest = PROBE_LOW if self._delay_rate < LOW_BPS or now - self._known_at < 30.0 else PROBE_HIGH
        if result is None:
            self._interval = min(max(self._interval, PROBE_EVERY) * 1.5, longest)
            self._next_probe = now + self._interval
            return
        if not result.full:
            self.loss.note(result.offered, result.arrived * (1.0 - result.lost / result.packets), result.packets)
        rate = result.rate
        if not result.full and result.sent > 1.4 * self.loss.sent_bps and usual > 0.02:
            self.loss.believe(self.loss.own + (usual - self.loss.own) * 0.5)  # as little lost at a higher rate: the link's own losses
        rate /= 1.0 - self.loss.own
        if result.full and not self._tried:
            self._delay_rate = min(self._delay_rate, max(rate, self._acked, float(self.minimum)))
        self._tried = True
        if rate > self._delay_rate:
            self._delay_rate = min(rate, float(self.maximum))
            self._capacity = 0.0
        if not result.full and rate > self.loss.limit:
            self.loss.limit = rate
        if result.full:
            shown = max(rate, self._shown) * 1.1
            self._shown, self._shown_at = rate, now
            if shown < self._delay_rate:  # twice in a row: the estimate is beyond what the link carries
                self._delay_rate = max(shown, min(self._delay_rate, 1.1 * self._acked / (1.0 - self.loss.own)), float(self.minimum))
            self._interval = min(max(self._interval, PROBE_EVERY) * 1.5, longest)
            self._next_probe = now + self._interval
        else:
            self._shown, self._shown_at = UNLIMITED, float("-inf")
            self._interval = 0.0
            self._next_probe = now

    # peers without transport-wide feedback

    def on_report(self, now: float, lost: float, round_trip: float | None, sent_bps: float) -> None:
        """A receiver report: share lost (0 to 1), round trip in s when known, what was sent since the last one.

        With transport-wide feedback only the round trip is taken; without, the losses drive the rate (GCC-02, section 6).
        """
        if round_trip is not None and 0.0 <= round_trip < 10.0:
            self.round_trip += (round_trip - self.round_trip) * 0.3
        if self.transport_wide:
            return
        if round_trip is not None:
            if round_trip < self._trip or now > self._trip_at:
                self._trip, self._trip_at = round_trip, now + 60.0
            self.queue = round_trip - self._trip
        self._samples += 1
        self._tried = True
        passed = min(now - self._updated, 2.0)
        self._updated = self._feedback = now
        limit = self.loss
        limit.recent += (lost - limit.recent) * 0.5
        limit.note(sent_bps, sent_bps * (1.0 - lost), 40)
        limit.limit = self._delay_rate  # here the losses alone move the rate
        limit.step(lost, sent_bps, passed, self._delay_rate, self.minimum)
        rate, limit.limit = limit.limit, UNLIMITED
        arriving = sent_bps * (1.0 - lost)
        if rate > self._delay_rate:  # no probe can be measured: the next layer must be within reach, but not soon after it failed
            ceiling = max(AHEAD * sent_bps + AHEAD_BPS, self._want_next * 1.05) if now >= self._wait_until else self._capacity
            rate = max(self._delay_rate, min(rate, ceiling, float(self.maximum)))
        if self.queue > 2.0 * QUEUE_FREE:
            rate = min(rate, max(BETA * arriving, float(self.minimum)))
        if rate < self._delay_rate and now >= self._wait_until:
            self._wait = min(self._wait * 2.0, REPORTS_WAIT_LIMIT) if now - self._wait_until < REPORTS_WAIT_LIMIT * 2.0 else REPORTS_WAIT
            self._wait_until = now + self._wait
            self._capacity = arriving
        self._delay_rate = rate

    def on_remb(self, now: float, bitrate: int) -> None:
        """The receiver's own estimate (draft-alvestrand-rmcat-remb-03): a ceiling, and a floor where nothing else is known."""
        if self.transport_wide:
            return
        if bitrate > self._remb and self._probe is not None:
            self._interval = 0.0
        self._remb, self._remb_at, self._feedback = float(bitrate), now, now
        self._tried = True
        if bitrate > self._delay_rate and self.loss.recent < 0.02:
            self._delay_rate = float(bitrate)
