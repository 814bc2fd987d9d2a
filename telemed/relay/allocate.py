"""Which layers of which tracks a subscriber gets for the rate its link carries: sound first, and no swinging to and fro."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from telemed.ports import Kind

Reason = Literal["", "bandwidth", "asked", "source"]

HEADROOM = 1.15  # a better choice must fit this much over its rate
TOLERANCE = 1.05  # the present choice may be this much over the estimate, for as long as
OVER_TIME = 0.6  # s; beyond SEVERE it falls at once
SEVERE = 1.3
PAUSE_TIME, PAUSE_SEVERE = 1.0, 1.6  # the same where nothing is left but to pause: the picture is worth a second look
HOLD = 0.6  # s for which a better choice must fit before it is taken
HOLD_LIMIT = 40.0  # s, after failed climbs
FAILED_WITHIN = 12.0  # s; a fall so soon after a climb means that the climb failed
FORGIVEN_AFTER, FORGOTTEN_AFTER = 30.0, 120.0  # s of standing firm after a climb, or after a fall: what failed before no longer counts
PLENTY = 1.5  # so much more than what failed before: it is another link by now
SMOOTH = 2.0  # s over which measured layer rates are averaged; a key frame must not cost a layer
AUDIO_FLOOR = 32_000  # bit/s set aside for each sound track, though it may be silent now (DTX)


@dataclass(slots=True)
class Wanted:
    """A track that a subscriber wants. `layers`: (rid, highest temporal layer or -1 for all, measured bit/s of all that it includes).

    Order does not matter; what has no rate yet (0) is not sent now, so it is not chosen. `limit`: best rid asked for, None: any.
    """

    track: str
    kind: Kind
    layers: Sequence[tuple[str, int, int]]
    priority: int = 0  # higher goes first
    screen: bool = False  # text must stay readable: picture size before frame rate
    paused: bool = False  # the subscriber asked for nothing of it
    limit: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What is forwarded of a track; `temporal` -1 means every layer."""

    track: str
    rid: str
    temporal: int
    paused: bool
    bitrate: int
    reason: Reason


class _Ladder:
    """One video track's choices from cheap to dear, and where it stands. Step 0 is a pause."""

    __slots__ = ("climbed", "fits", "hold", "level", "paused", "priority", "rates", "seen", "settled", "shape", "steps", "wanted")

    def __init__(self) -> None:
        self.level = 0
        self.fits = -1.0  # since when a better step fits
        self.hold = HOLD
        self.climbed = float("-inf")
        self.settled = 0.0  # since when the level has not changed
        self.rates: dict[tuple[str, int], float] = {}  # averaged
        self.seen = float("-inf")
        self.steps: list[tuple[str, int, float]] = []  # rid, temporal, bit/s; steps[0] is the pause
        self.priority = 0
        self.paused = False
        self.shape: tuple[object, ...] = ()

    def update(self, wanted: Wanted, now: float) -> bool:
        """Takes the measured rates; true when the choices themselves are others than before."""
        share = 1.0 if self.seen == float("-inf") else min(1.0, (now - self.seen) / SMOOTH)
        self.seen = now
        self.wanted = wanted
        self.priority = wanted.priority
        rates: dict[tuple[str, int], float] = {}
        for rid, temporal, measured in wanted.layers:
            before = self.rates.get((rid, temporal))
            if measured > 0:
                rates[rid, temporal] = measured if before is None else before + (measured - before) * share
        self.rates = rates
        present = self.steps[self.level][:2] if self.level < len(self.steps) else None
        unmeasured = len(self.steps) == 1 and not self.paused  # it runs all the same
        self.paused = wanted.paused
        self.steps = [] if wanted.paused else _steps(rates, wanted)
        self.steps.insert(0, ("", -1, 0.0))
        shape = (wanted.priority, wanted.paused, wanted.limit, tuple((rid, temporal) for rid, temporal, _ in self.steps))
        changed = shape != self.shape
        if changed:
            same = [place for place, step in enumerate(self.steps) if step[:2] == present]
            self.level = same[0] if same and present != ("", -1) else min(1 if unmeasured else self.level, len(self.steps) - 1)
        self.shape = shape
        return changed

    @property
    def rate(self) -> float:
        return self.steps[self.level][2]


def _steps(rates: dict[tuple[str, int], float], wanted: Wanted) -> list[tuple[str, int, float]]:
    """The ladder without the pause: each step dearer than the one before.

    Camera: smaller pictures first, then fewer frames of the smallest. Screen: fewer frames of the largest first, then smaller pictures.
    """
    whole: dict[str, float] = {}
    for (rid, _), rate in rates.items():
        whole[rid] = max(whole.get(rid, 0.0), rate)
    rids = sorted(whole, key=lambda rid: whole[rid])
    if wanted.limit in whole:
        rids = rids[: rids.index(wanted.limit) + 1]
    steps: list[tuple[str, int, float]] = []
    for rid in reversed(rids):  # from dear to cheap: what does not get cheaper is no step
        frames = sorted(((rate, temporal) for (each, temporal), rate in rates.items() if each == rid), reverse=True)
        if not wanted.screen and rid != rids[0]:
            frames = frames[:1]
        for rate, temporal in frames:
            if not steps or rate < steps[-1][2] * 0.95:
                steps.append((rid, temporal, rate))
    steps.reverse()
    return steps


class Allocator:
    """One subscriber's choices. `choose` every 100 to 200 ms and when tracks change; `following` and `everything` go to Estimator.want."""

    __slots__ = ("_audio", "_failed", "_ladders", "_over", "everything", "following")

    def __init__(self) -> None:
        self._ladders: dict[str, _Ladder] = {}
        self._over = -1.0
        self._audio = 0.0
        self._failed = 0.0  # bit/s of video that a climb asked for and the link did not carry
        self.following = 0  # bit/s that the estimate must reach for the next better choice
        self.everything = 0  # bit/s at which nothing more is wanted

    def choose(self, now: float, estimate: int, wanted: Sequence[Wanted], proven: bool = True) -> list[Choice]:
        """One choice a track, in the order given. Sound is always forwarded, whatever the estimate; video shares what is left of it.

        While the estimate is not `proven` the least of every track runs, whatever it says: the picture itself is what tries the link, and a
        better one would fill a thin link's queue before anything is known of it. It has its place then: what has run without a queue need
        not fit with headroom, as what would climb must.
        """
        audio = 0.0
        changed = False
        present: dict[str, _Ladder] = {}
        for each in wanted:
            if each.kind == "audio":
                if not each.paused:
                    audio += max([AUDIO_FLOOR, *(rate for _, _, rate in each.layers)])
                continue
            ladder = self._ladders.get(each.track)
            if ladder is None:
                ladder = _Ladder()
                ladder.settled = now
                changed = True
            present[each.track] = ladder
            changed = ladder.update(each, now) or changed
        changed = changed or len(present) != len(self._ladders)
        self._ladders = present
        self._audio = audio
        ladders = sorted(present.values(), key=lambda ladder: -ladder.priority)
        budget = estimate - audio
        self._move(now, budget, ladders, changed)
        if not proven:
            for ladder in ladders:
                if ladder.level != 1 and len(ladder.steps) > 1:
                    ladder.level, ladder.settled = 1, now
        self._outlook(ladders)
        return [self._choice(each) for each in wanted]

    def _move(self, now: float, budget: float, ladders: list[_Ladder], changed: bool) -> None:
        total = sum(ladder.rate for ladder in ladders)
        if changed:  # other tracks or wishes: shared anew, no one keeps a place by having come first
            self._over = -1.0
            levels = _share(budget / HEADROOM, ladders)
            spent = sum(ladder.steps[level][2] for ladder, level in zip(ladders, levels, strict=True))
            for ladder, level in zip(ladders, levels, strict=True):
                more = ladder.rate - ladder.steps[level][2]
                # Headroom is for climbing, not a reason to fall, still less to pause: a link that loses 5% shows that much less.
                if ladder.level > level and spent + more <= budget * (TOLERANCE if level else HEADROOM):
                    spent += more
                else:
                    self._set(ladder, level, now)
            return
        if total > budget * TOLERANCE:
            if self._over < 0.0:
                self._over = now
            last = all(ladder.level <= 1 for ladder in ladders)
            severe, patience = (PAUSE_SEVERE, PAUSE_TIME) if last else (SEVERE, OVER_TIME)
            if total > budget * severe or now - self._over >= patience:
                self._over = -1.0
                for ladder, level in zip(ladders, _share(budget, ladders, ceilings=True), strict=True):
                    self._fall(ladder, level, now, total)
            return
        self._over = -1.0
        target = _share(budget / HEADROOM, ladders, floors=True)
        for ladder, level in zip(ladders, target, strict=True):
            if level <= ladder.level:
                ladder.fits = -1.0
                if now - ladder.settled > (FORGIVEN_AFTER if ladder.settled == ladder.climbed else FORGOTTEN_AFTER):
                    ladder.hold = HOLD
                continue
            if ladder.fits < 0.0:
                ladder.fits = now
            if now - ladder.fits >= (HOLD if budget > PLENTY * self._failed else ladder.hold):
                self._set(ladder, level, now)

    def _set(self, ladder: _Ladder, level: int, now: float) -> None:
        if level == ladder.level:
            return
        if level > ladder.level:
            ladder.climbed = now
        ladder.level = level
        ladder.settled = now
        ladder.fits = -1.0

    def _fall(self, ladder: _Ladder, level: int, now: float, total: float) -> None:
        ladder.fits = -1.0
        if level >= ladder.level:
            return
        if now - ladder.climbed < FAILED_WITHIN:
            ladder.hold = min(max(ladder.hold * 2.0, 2.0), HOLD_LIMIT)
            ladder.climbed = float("-inf")  # one climb fails once
            self._failed = total
        self._set(ladder, level, now)

    def _outlook(self, ladders: list[_Ladder]) -> None:
        spent = self._audio + sum(ladder.rate for ladder in ladders)
        self.everything = int((self._audio + sum(ladder.steps[-1][2] for ladder in ladders)) * HEADROOM) + 1
        raises = [ladder.steps[ladder.level + 1][2] - ladder.rate for ladder in ladders if ladder.level + 1 < len(ladder.steps)]
        self.following = int((spent + min(raises)) * HEADROOM) + 1 if raises else self.everything

    def _choice(self, wanted: Wanted) -> Choice:
        if wanted.kind == "audio":
            rid, temporal, rate = max(wanted.layers, key=lambda layer: layer[2], default=("", -1, 0))
            return Choice(wanted.track, rid, temporal, wanted.paused, 0 if wanted.paused else rate, "asked" if wanted.paused else "")
        ladder = self._ladders[wanted.track]
        rid, temporal, bitrate = ladder.steps[ladder.level]
        reason: Reason = ""
        if wanted.paused:
            reason = "asked"
        elif len(ladder.steps) == 1:
            reason = "source"
        elif ladder.level + 1 < len(ladder.steps):
            reason = "bandwidth"
        elif wanted.limit is not None and any(each not in {step[0] for step in ladder.steps} for each, _, rate in wanted.layers if rate):
            reason = "asked"
        return Choice(wanted.track, rid, temporal, ladder.level == 0, int(bitrate), reason)


def _share(budget: float, ladders: list[_Ladder], *, floors: bool = False, ceilings: bool = False) -> list[int]:
    """Levels within the budget: first the least of every track, by priority; then better ones, higher priorities to the end before lower.

    Among equals a step for one is followed by a step for the next. With `floors` none falls from where it is, with `ceilings` none rises.
    """
    levels = [ladder.level if floors else 0 for ladder in ladders]
    tops = [ladder.level if ceilings else len(ladder.steps) - 1 for ladder in ladders]
    left = budget - sum(ladder.steps[level][2] for ladder, level in zip(ladders, levels, strict=True))
    for place, ladder in enumerate(ladders):
        if not levels[place] and tops[place] and ladder.steps[1][2] <= left:
            levels[place] = 1
            left -= ladder.steps[1][2]
    for priority in sorted({ladder.priority for ladder in ladders}, reverse=True):
        group = [place for place, ladder in enumerate(ladders) if ladder.priority == priority]
        raised = True
        while raised:
            raised = False
            for place in group:
                level = levels[place]
                if not 0 < level < tops[place]:
                    continue
                steps = ladders[place].steps
                cost = steps[level + 1][2] - steps[level][2]
                if cost <= left:
                    levels[place] = level + 1
                    left -= cost
                    raised = True
    return levels
