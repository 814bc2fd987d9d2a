"""Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01): what a receiver notes, what a sender remembers."""

import math
import struct
from collections import deque
from collections.abc import Sequence
from itertools import chain
from operator import sub
from typing import TYPE_CHECKING, Any, Protocol

from telemed.wire.rtcp import feedback_alone, reference_us
from telemed.wire.rtcp import statuses as told_of

if TYPE_CHECKING:
    from telemed.relay.trend import Trend

Acknowledged = tuple[float, float | None, int]  # sent at (s, our clock), arrived at (s, the receiver's clock) or None: lost, bytes

TICK_US = 250  # unit of a receive delta
REFERENCE_US = 64_000  # unit of the reference time
REFERENCE_SPAN_US = REFERENCE_US << 24  # where the reference time wraps
GAP = 2_000  # sequences; a longer hole starts a new feedback instead of naming each missing packet
RECEIVED_LIMIT = 450  # packets in one feedback
OCTET_LIMIT = 1_000  # of deltas and holes in one feedback: with chunks and head it stays below 1,200
FEEDBACK_LIMIT = 16  # feedbacks in one take: whoever needs more sends nonsense
PENDING_LIMIT = 20_000  # packets looked at in one take: a flood between two takes is cut here
GATHERED, SILENT = 6.0, 1.0  # s: what Gather waits for at most, and the silence after which it waits for nothing
EARLY, LATE, HOLE = 0.02, 0.04, 0.15  # s of delay at least and at the end, and between arrivals, that are nothing to look at
IN_ORDER = 200  # packets of which a feedback is built at once where they came in order
_HEAD = struct.Struct("!BBHIIHHI").pack
SENT = 2048  # packets of which it is known when they left: a power of two
REMEMBERED = 250  # reported arrivals kept, to report around a packet that came late


class FeedbackBuilder:
    """Receiver side: `record` every packet that carries a transport-wide sequence, `take` a feedback every 50 to 100 ms."""

    __slots__ = ("_count", "_highest", "_next", "_recent", "_reported", "note", "pending")

    def __init__(self) -> None:
        self.pending: list[int] = []  # what came since the last feedback
        self.note = self.pending.append  # the inner loop may call note(arrival_us << 16 | sequence) and spare a call
        self._reported: dict[int, int] = {}  # unwrapped sequence -> arrival, oldest first
        self._recent: deque[tuple[int, list[int]]] = deque()  # what is to be in it: first sequence and arrivals of feedbacks in order
        self._highest = -1  # unwrapped; -1: nothing yet
        self._next = 0  # first sequence that no feedback spoke of
        self._count = 0

    def record(self, sequence: int, arrival_us: int) -> None:
        """Notes a packet: 16-bit sequence, arrival in microseconds of any steady clock. On the packet path: one append."""
        self.pending.append(arrival_us << 16 | sequence)

    def extend(self, noted: Sequence[int]) -> None:
        """Notes packets that came before those of `note`; entries as `note` takes them."""
        self.pending[:0] = noted

    def __len__(self) -> int:
        return len(self.pending)

    def take(self, sender: int, media: int) -> list[bytes]:
        """The RTCP packets (PT 205, FMT 15) for what came since the last call; empty when nothing did.

        More than one when the packets are many, far apart in sequence, or more than 8 s apart in time.
        """
        if not self.pending:
            return []
        if (packet := self.in_order(sender, media)) is not None:
            return [packet]
        pending = self.pending[:PENDING_LIMIT]
        self.pending.clear()  # the same list stays: `note` is bound to it
        for base, times in self._recent:
            self._reported.update(zip(range(base, base + len(times)), times, strict=True))
        self._recent.clear()
        arrivals = self._unwrap(pending)
        if not arrivals:
            return []
        order = sorted(arrivals)
        reported = self._reported
        if order[0] < self._next:  # a late packet: what was reported after it is said again, so that it does not look lost
            first = order[0]
            again = {seq: at for seq, at in reported.items() if first < seq < self._next}
            if again:
                again.update(arrivals)
                arrivals, order = again, sorted(again)
        reported.update(arrivals)
        self._forget()
        base = order[0] if order[0] < self._next or order[0] - self._next > GAP else self._next
        self._next = max(self._next, order[-1] + 1)
        packets: list[bytes] = []
        position = 0
        while position < len(order) and len(packets) < FEEDBACK_LIMIT:
            packet, position = self._build(sender, media, base, order, arrivals, position)
            packets.append(packet)
            if position < len(order):
                following = order[position]
                base = order[position - 1] + 1
                if following - base > GAP:
                    base = following
        return packets

    def in_order(self, sender: int, media: int) -> bytes | None:
        """The feedback about `pending`, which is not empty, where nothing is missing, late or far apart, as nearly always.

        The same bytes without a look at each packet. None: it is not so, and nothing is changed.
        """
        pending, base = self.pending, self._next
        count, first = len(pending), base & 0xFFFF
        if self._highest + 1 != base or self._highest < 0 or count > IN_ORDER or first + count > 0x10000:
            return None
        if [entry & 0xFFFF for entry in pending] != list(range(first, first + count)):
            return None
        times = [entry >> 16 for entry in pending]
        reference = times[0] // REFERENCE_US
        begin = reference * REFERENCE_US - TICK_US // 2
        ticks = [(at - begin) // TICK_US for at in times]
        try:
            deltas = bytes(map(sub, ticks, [0, *ticks]))
        except ValueError:  # one does not fit into an octet
            return None
        pending.clear()
        self._highest = base + count - 1
        self._next = base + count
        recent = self._recent
        recent.append((base, times))
        while len(recent) > 1 and recent[1][0] <= self._next - REMEMBERED:  # each begins where the one before ends
            recent.popleft()
        # One chunk of a run length says that all came.
        return self._packet(sender, media, base, count, reference, (1 << 13 | count).to_bytes(2) + deltas)

    def _packet(self, sender: int, media: int, base: int, count: int, reference: int, told: bytes) -> bytes:
        """The next feedback (section 3.1), of `count` statuses; `told`: chunks and deltas."""
        padding = -len(told) % 4
        number = self._count
        self._count = (number + 1) & 0xFF
        head = _HEAD(
            0xAF if padding else 0x8F, 0xCD, 4 + (len(told) + padding) // 4, sender, media, base & 0xFFFF, count,
            (reference & 0xFFFFFF) << 8 | number,
        )  # fmt: skip
        return head + told + (bytes(padding - 1) + bytes((padding,)) if padding else b"")

    def _forget(self) -> None:
        """What was reported long ago; they are in order of sequence, but for late ones."""
        reported = self._reported
        if len(reported) > REMEMBERED * 2:
            for seq in sorted(reported)[:-REMEMBERED]:
                del reported[seq]

    def _unwrap(self, pending: list[int]) -> dict[int, int]:
        """Unwrapped sequence -> first arrival, without what was reported before or is too old to matter."""
        highest = self._highest
        if highest < 0:
            highest = (pending[0] & 0xFFFF) + 0x10000  # room below for packets that were overtaken at the start
            self._next = min(highest + ((((entry & 0xFFFF) - highest + 0x8000) & 0xFFFF) - 0x8000) for entry in pending[:16])
        reported = self._reported
        arrivals: dict[int, int] = {}
        for entry in pending:
            seq = highest + ((((entry & 0xFFFF) - highest + 0x8000) & 0xFFFF) - 0x8000)
            if seq > highest:
                highest = seq
            elif seq in reported or seq in arrivals or seq < highest - REMEMBERED:
                continue
            arrivals[seq] = entry >> 16
        self._highest = highest
        return arrivals

    def _build(self, sender: int, media: int, base: int, order: list[int], arrivals: dict[int, int], position: int) -> tuple[bytes, int]:
        """One feedback from `order[position]` on, and the position it reached."""
        symbols = bytearray()
        deltas = bytearray()
        reference = arrivals[order[position]] // REFERENCE_US
        clock = reference * REFERENCE_US
        expected = base
        octets = 0
        end = min(len(order), position + RECEIVED_LIMIT)
        while position < end:
            seq = order[position]
            ticks = (arrivals[seq] - clock + TICK_US // 2) // TICK_US
            missing = seq - expected
            if missing > GAP or octets > OCTET_LIMIT or not -0x8000 <= ticks <= 0x7FFF:
                break
            if missing:
                symbols += bytes(missing)
                octets += 4
            if 0 <= ticks <= 0xFF:
                symbols.append(1)
                deltas.append(ticks)
                octets += 1
            else:
                symbols.append(2)
                deltas += (ticks & 0xFFFF).to_bytes(2, "big")
                octets += 2
            clock += ticks * TICK_US
            expected = seq + 1
            position += 1
        return self._packet(sender, media, base, len(symbols), reference, chunks(symbols) + deltas), position


def chunks(symbols: bytearray) -> bytes:
    """Packet status chunks (section 3.1.2 to 3.1.4) for symbols 0 (lost), 1 (small delta), 2 (large or negative delta)."""
    out = bytearray()
    position = 0
    count = len(symbols)
    while position < count:
        symbol = symbols[position]
        window = symbols[position : position + 14]
        capacity = 7 if 2 in window else 14
        if window[:capacity].count(symbol) == min(capacity, len(window)):  # one value through: a run holds it and what follows
            stop = position + capacity
            limit = min(count, position + 0x1FFF)
            while stop < limit and symbols[stop] == symbol:
                stop += 1
            stop = min(stop, count)
            out += (symbol << 13 | (stop - position)).to_bytes(2, "big")
            position = stop
            continue
        value = 0b10 if capacity == 14 else 0b11
        bits = 1 if capacity == 14 else 2
        window = window[:capacity]
        for each in window:
            value = value << bits | each
        out += (value << bits * (capacity - len(window))).to_bytes(2, "big")
        position += len(window)
    return bytes(out)


class Digest:
    """What one feedback tells: counts of packets and octets; of those that came the least and the last delay and the newest arrival (s)."""

    __slots__ = (
        "before", "count", "delay", "fed", "first", "gap", "last_sent", "lost", "lost_octets", "newest", "octets", "packets", "tail",
    )

    def __init__(self, packets: list[Acknowledged]) -> None:
        self.packets = packets
        self.before: float | None = None  # newest arrival before these, where it is not that of the digest before
        self.gap: float | None = None  # s since the feedback before the last one of these, where that is not the digest before
        self.fed = False  # the trend has followed them already
        self.count = len(packets)
        self.last_sent = packets[-1][0] if packets else 0.0
        self.first: tuple[float, float] | None = None  # when the first one that came was sent, and came
        self.octets = self.lost = self.lost_octets = 0
        self.delay, self.newest = float("inf"), float("-inf")
        self.tail = 0.0  # delay of the last one in order of sequence
        for left, came, size in packets:
            if came is None:
                self.lost += 1
                self.lost_octets += size
                continue
            if self.first is None:
                self.first = left, came
            self.octets += size
            self.tail = came - left
            self.delay = min(self.delay, self.tail)
            self.newest = max(self.newest, came)


class Counting(Protocol):
    """Who numbers packets: `counter` is the last transport-wide sequence number that it gave."""

    counter: int


class SendHistory:
    """Sender side: when each transport-wide sequence left and how large it was, for the last `size` packets (a power of two)."""

    __slots__ = ("base", "counter", "mask", "ring", "source")

    def __init__(self, size: int = SENT) -> None:
        if size & (size - 1) or not 0 < size <= 0x8000:
            raise ValueError("size must be a power of two up to 32768")
        self.mask = size - 1
        # By 2 * (sequence & mask): when it left, and its octets (0: free or acknowledged; negative: reported lost once). Each packet has
        # the next number, so its place tells which it is, as long as it is not too far behind the newest.
        self.ring: list[Any] = [float("-inf"), 0] * size
        self.source: Counting = self  # who knows the newest
        self.counter = 0
        self.base = math.nan  # last arrival, unwrapped, microseconds

    @property
    def last_sent(self) -> float:
        """When the last one left."""
        left: float = self.ring[2 * (self.source.counter & self.mask)]
        return left

    @property
    def sizes(self) -> Sequence[int]:
        """Octets of each packet, by sequence & mask."""
        return self.ring[1::2]

    @property
    def times(self) -> Sequence[float]:
        """When each left."""
        return self.ring[::2]

    def sent(self, sequence: int, time: float, size: int) -> None:
        """Notes a packet that leaves: 16-bit sequence, one more than the last, seconds, octets on the wire. As the step does."""
        place = 2 * (sequence & self.mask)
        self.ring[place], self.ring[place + 1] = time, size
        self.counter = sequence

    def apply(self, arrivals: Sequence[tuple[int, int | None]]) -> list[Acknowledged]:
        """What became of our packets, in order of sequence; `arrivals` as in rtcp.TransportFeedback, microseconds.

        A packet is returned once as arrived, and at most once as lost before that (it may have come late). Unknown ones are passed over.
        """
        ring, newest, mask = self.ring, self.source.counter, self.mask
        out: list[Acknowledged] = []
        append = out.append
        offset: float | None = None
        latest = None if math.isnan(self.base) else self.base
        for sequence, arrival in arrivals:
            place = 2 * (sequence & mask)
            left, size = ring[place], ring[place + 1]
            if not size or newest - sequence & 0xFFFF > mask:
                continue
            if arrival is None:
                if size > 0:
                    ring[place + 1] = -size
                    append((left, None, size))
                continue
            ring[place + 1] = 0
            if offset is None:  # the reference time wraps once in 12 days: one look a feedback finds it
                offset = 0.0 if latest is None else round((latest - arrival) / REFERENCE_SPAN_US) * float(REFERENCE_SPAN_US)
            at = arrival + offset
            if latest is None or at > latest:
                latest = at
            append((left, at * 1e-6, size if size > 0 else -size))
        if latest is not None:
            self.base = latest
        return out

    def digest(self, body: bytes) -> Digest:
        """What a feedback tells; `body`: of the packet of PT 205, FMT 15, from the sender's SSRC on. Raises WireError.

        As `Digest(self.apply(rtcp.transport(body).arrivals))`, in one pass.
        """
        statuses, at = told_of(body)
        ring, newest, mask = self.ring, self.source.counter, self.mask
        sequence = body[8] << 8 | body[9]
        clock = reference_us(body)
        latest, offset = self.base, math.nan
        told = Digest([])
        packets = told.packets
        octets, least, highest, tail = 0, told.delay, told.newest, 0.0
        for status in statuses:
            if status == 1:
                clock += body[at] * TICK_US
                at += 1
            elif status == 2:
                delta = body[at] << 8 | body[at + 1]
                clock += (delta - 0x10000 if delta & 0x8000 else delta) * TICK_US
                at += 2
            place, behind = 2 * (sequence & mask), newest - sequence & 0xFFFF
            sequence = sequence + 1 & 0xFFFF
            left, size = ring[place], ring[place + 1]
            if not size or behind > mask:
                continue
            if status != 1 and status != 2:
                if size > 0:
                    ring[place + 1] = -size
                    packets.append((left, None, size))
                    told.lost += 1
                    told.lost_octets += size
                continue
            ring[place + 1] = 0
            if size < 0:
                size = -size
            if offset != offset:  # the reference time wraps once in 12 days: one look a feedback finds it
                offset = 0.0 if latest != latest else round((latest - clock) / REFERENCE_SPAN_US) * float(REFERENCE_SPAN_US)
                told.first = left, (clock + offset) * 1e-6
            arrived = clock + offset
            if not arrived <= latest:  # nor is there one before the first
                latest = arrived
            came = arrived * 1e-6
            packets.append((left, came, size))
            octets += size
            tail = came - left
            if tail < least:
                least = tail
            if came > highest:
                highest = came
        if packets:
            told.count, told.last_sent = len(packets), packets[-1][0]
            told.octets, told.delay, told.newest, told.tail = octets, least, highest, tail
        self.base = latest
        return told


class Gather:
    """What feedback told of a link that carries all that is wanted, and more: such a link is not looked at ten times a second.

    It is told as one when asked for, after GATHERED seconds, or at once when something is lost, late or begins to queue. feedback.c
    (step_told) does the same for feedback that comes alone, and reads each; here one that says what is expected is left until then.
    """

    __slots__ = (
        "_begin", "_count", "_heard", "_left", "_newest", "_told_at", "_total", "calm", "history", "least", "sender", "trend",
    )  # fmt: skip

    def __init__(self, history: SendHistory, trend: "Trend") -> None:
        self.history, self.trend = history, trend
        self.calm = False
        self.least = 0.0  # least delay known, s
        self.sender = b""  # whose feedback it is
        self._told_at = self._heard = float("-inf")
        self._newest = -1.0
        self._total: Digest | None = None
        self._left: list[list[Acknowledged]] = []  # the first and the last packet of each feedback left
        self._begin = self._count = 0  # the packets that those tell of: they follow each other

    def leave(self, packet: bytes, now: float) -> bool:
        """Whether a datagram of RTCP is feedback alone that tells what is expected, and is left: of a link that was calm, all came, in
        order and soon, behind those that the one before told of. False: it is to be read, and nothing is changed.
        """
        if not self.calm or packet[4:8] != self.sender or now - self._told_at >= GATHERED or now - self._heard >= SILENT:
            return False
        body = feedback_alone(packet)
        if body is None or len(body) < 19:
            return False
        count, begin = body[11], body[8] << 8 | body[9]
        if not count or body[10] or body[16] != 0x20 or body[17] != count or len(body) < 18 + count:  # one chunk: a run of those that came
            return False
        history = self.history
        ring, mask, newest, latest = history.ring, history.mask, history.source.counter, history.base
        if self._count and (begin != self._begin + self._count & 0xFFFF or newest - self._begin & 0xFFFF > mask >> 1):
            return False
        if not count - 1 <= newest - begin & 0xFFFF <= mask or latest != latest:
            return False
        first, last = 2 * (begin & mask), 2 * (begin + count - 1 & mask)
        came = reference_us(body) + body[18] * TICK_US
        came += round((latest - came) / REFERENCE_SPAN_US) * REFERENCE_SPAN_US
        end = came + sum(body[19 : 18 + count]) * TICK_US
        came_s, end_s, left, tail = came * 1e-6, end * 1e-6, ring[first], ring[last]
        late = end_s - tail - self.least
        if late >= EARLY or came_s - left - self.least >= EARLY or came_s - self._newest >= HOLE or ring[first + 1] <= 0:
            return False
        if not self._count:
            self._begin = begin
        self._count += count
        packets: list[Acknowledged] = [(left, came_s, ring[first + 1])]
        if count > 1:
            packets.append((tail, end_s, ring[last + 1]))
        self._left.append(packets)
        if end > latest:
            history.base = float(end)
        self._heard = now
        if end_s > self._newest:
            self._newest = end_s
        return True

    def read(self) -> None:
        """What was left: it is counted, and the trend follows it."""
        count = self._count
        if not count:
            return
        history, packets, total = self.history, self._left, self._total
        ring, size = history.ring, history.mask + 1
        gone = max((history.source.counter - self._begin & 0xFFFF) + 1 - size, 0)  # sent so long ago that others are in their place
        octets = 0
        places = range(self._begin + gone, self._begin + count)
        for place in places:
            at = 2 * (place % size) + 1
            octets += abs(ring[at])
            ring[at] = 0
        each = list(chain.from_iterable(packets))
        told = Digest(packets[-1])
        told.count, told.octets, told.delay = len(places), octets, min(came - left for left, came, _ in each if came is not None)
        if len(packets) > 1:
            told.before = packets[-2][-1][1]
        elif total is not None:
            told.before = total.newest
        self._left, self._count = [], 0
        self.trend.feed(each)
        self._add(told)
        self._total = told

    def take(self, told: Digest, now: float) -> Digest | None:
        """What is to be looked at now, None: nothing. `told`: of a feedback that came now and was not left; `read` goes before."""
        if not told.count:
            return None
        quiet = (
            self.calm and told.first is not None and not told.lost and now - self._told_at < GATHERED and now - self._heard < SILENT
            and told.delay - self.least < EARLY and told.tail - self.least < LATE and told.first[1] - self._newest < HOLE
        )  # fmt: skip
        told.fed = quiet and self.trend.follow(told) != 0
        told.gap = now - self._heard
        before, self._heard, self._newest = self._newest, now, max(self._newest, told.newest)
        told.before = before if self._total is not None else None
        self._add(told)
        if quiet and not told.fed:
            self._total = told
            return None
        self._total, self._told_at = None, now
        return told

    def _add(self, told: Digest) -> None:
        """To `told` what was gathered before it."""
        total = self._total
        if total is not None:
            told.count += total.count
            told.octets += total.octets
            told.delay = min(told.delay, total.delay)
            told.newest = max(told.newest, total.newest)

    def rest(self) -> tuple[Digest, float] | None:
        """What is gathered and when the last of it came, None: nothing."""
        self.read()
        total, self._total = self._total, None
        if total is None:
            return None
        self._told_at = self._heard
        total.fed, total.gap, total.packets = True, 0.0, []
        return total, self._heard
