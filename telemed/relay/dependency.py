"""Which frames of an AV1 stream a subscriber needs, by its dependency descriptors (AV1 RTP specification, appendix A).

A decode target is a spatial and a temporal layer with all that it needs. A subscriber holds a set of them: those up to the layers
chosen for it. One is taken up at a frame that the descriptor calls a switch for it, if all that the frame needs went to the
subscriber, and left between two temporal units. What no target held needs is left out.
"""

from typing import Final, NamedTuple

from telemed.wire import av1
from telemed.wire.errors import WireError

DEPENDENCY: Final = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
REMEMBERED: Final = 512  # frames of which is known whether they went to a subscriber
STRUCTURES: Final = 20  # that are read in a second at most: each costs as much as many packets, and announces what holds for long


class Frame(NamedTuple):
    """What the descriptor says of one frame, with the structure that it is of."""

    number: int
    spatial: int
    temporal: int
    indications: tuple[int, ...]
    references: tuple[int, ...]
    structure: av1.Structure
    active: int  # decode targets that the publisher makes, as bits


class Reader:
    """The descriptors of one stream: what a keyframe announces holds until the next (A.4)."""

    __slots__ = ("_active", "_announced", "_budget", "_last", "_refilled", "structure")

    def __init__(self) -> None:
        self._budget, self._refilled = float(STRUCTURES), 0.0
        self.structure: av1.Structure | None = None
        self._announced = 0  # frame number of the structure
        self._active = 0
        self._last: Frame | None = None

    def read(self, described: bytes, late: bool, now: float) -> Frame | None:
        """None for what cannot be read: the structure was lost, or it is no descriptor. `late`: the packet was, by its RTP number."""
        if len(described) < 3:
            return None
        number = described[1] << 8 | described[2]
        last = self._last
        if last is not None and last.number == number:
            return last  # all packets of a frame say the same of it
        if len(described) > 3 and described[3] & 0x80:
            self._budget = min(self._budget + (now - self._refilled) * STRUCTURES, STRUCTURES)
            self._refilled = now
            if self._budget < 1:
                return None
            self._budget -= 1
        try:
            found = av1.dependency(described, self.structure)
        except WireError:
            return None
        structure, active = self.structure, self._active
        if found.structure is not None:
            if found.structure != structure:  # most keyframes repeat it, and so may each layer of one
                structure = found.structure
            active = (1 << len(found.structure.targets)) - 1
        if found.active is not None:
            active = found.active
        assert structure is not None
        frame = Frame(number, min(found.sid, 3), min(found.tid, 3), found.indications, found.references, structure, active)
        # A late packet does not bring back what was announced before, but may bring what was lost.
        if not late or last is None or (number - last.number) & 0xFFFF < 0x8000:
            self._last, self._active = frame, active
        if found.structure is not None and (not late or self.structure is None or (number - self._announced) & 0xFFFF < 0x8000):
            self.structure, self._announced = structure, number
        return frame


class Chain:
    """What of the stream one subscriber holds: decode targets, and the frames that went to it."""

    __slots__ = ("_goes", "_newest", "_sent", "_structure", "_unit", "behind", "held", "top")

    def __init__(self) -> None:
        self.held = 0  # decode targets as bits
        self.top = 0  # highest spatial layer of them
        self.behind = False  # whether some that were chosen are not held yet
        self._structure: av1.Structure | None = None
        self._unit = -1  # timestamp of the temporal unit
        self._newest = -1  # frame number
        self._goes = False  # whether that frame goes
        self._sent = 0  # bit n: the frame n before the newest went

    def takes(self, frame: Frame, spatial: int, temporal: int, rtp: int, late: bool = False) -> bool:
        """Whether a packet goes, with the layers that are chosen now; all packets of a frame go or none."""
        ahead = (frame.number - self._newest) & 0xFFFF if self._newest >= 0 else 1
        if not ahead:
            return self._goes
        if late and ahead >= 0x8000:
            goes = frame.structure is self._structure and self._needed(frame)
            if goes and 0x10000 - ahead < REMEMBERED:
                self._sent |= 1 << 0x10000 - ahead
            return goes
        self._sent = self._sent << ahead & (1 << REMEMBERED) - 1 if ahead < REMEMBERED else 0
        self._newest = frame.number
        self._choose(frame, spatial, temporal, rtp)
        self._goes = self._needed(frame)
        self._sent |= self._goes
        return self._goes

    def _needed(self, frame: Frame) -> bool:
        held = self.held
        return any(held >> target & 1 and what != av1.NOT_PRESENT for target, what in enumerate(frame.indications))

    def _choose(self, frame: Frame, spatial: int, temporal: int, rtp: int) -> None:
        held, targets = self.held, frame.structure.targets
        if frame.structure is not self._structure:
            self._structure, held = frame.structure, 0
        made = [n for n in range(len(targets)) if frame.active >> n & 1]
        chosen = sum(1 << n for n in made if targets[n][0] <= spatial and min(targets[n][1], 3) <= temporal)
        if not chosen and made:  # the publisher makes nothing so low
            chosen = 1 << min(made, key=lambda n: targets[n])
        if rtp != self._unit:
            self._unit = rtp
            held &= chosen
        missing = chosen & ~held
        if missing and all(reference < REMEMBERED and self._sent >> reference & 1 for reference in frame.references):
            held |= sum(1 << n for n, what in enumerate(frame.indications) if missing >> n & 1 and what == av1.SWITCH)
        self.behind = bool(chosen & ~held)
        if held != self.held:
            self.held = held
            self.top = max((targets[n][0] for n in range(len(targets)) if held >> n & 1), default=0)
