"""What a VP9 payload says of itself (RFC 9628 4.2): layers, where a subscriber may switch, keyframes, the scalability structure."""

from dataclasses import dataclass

from telemed.wire import picture_id
from telemed.wire.buffer import Buffer
from telemed.wire.errors import WireError


@dataclass(slots=True)
class Scalability:
    """The scalability structure: spatial layers, their sizes if given, and the pictures of a group as (tid, switching up, p_diffs)."""

    layers: int
    sizes: tuple[tuple[int, int], ...] = ()
    pictures: tuple[tuple[int, bool, tuple[int, ...]], ...] = ()


@dataclass(slots=True)
class Descriptor:
    """Fields that are absent are -1."""

    start: bool  # of a layer frame
    end: bool
    inter: bool  # predicted from an earlier picture
    flexible: bool
    non_reference: bool  # nothing of a higher spatial layer needs it
    size: int = 0  # of the descriptor
    picture_id: int = -1
    picture_id_bits: int = 0  # 7 or 15
    picture_id_offset: int = -1
    sid: int = 0  # spatial layer
    tid: int = 0  # temporal layer
    layered: bool = False  # whether sid and tid were there
    switching_up: bool = False  # later pictures of higher temporal layers do not need what came before this one
    inter_layer: bool = False  # needs the spatial layer below, of the same picture
    tl0: int = -1
    tl0_offset: int = -1
    references: tuple[int, ...] = ()  # p_diffs, in flexible mode
    scalability: Scalability | None = None

    @property
    def keyframe(self) -> bool:
        return self.start and not self.inter and self.sid == 0


def descriptor(payload: Buffer) -> Descriptor:
    """Raises WireError."""
    if not len(payload):
        raise WireError("VP9: empty")
    first = payload[0]
    out = Descriptor(bool(first & 8), bool(first & 4), bool(first & 0x40), bool(first & 0x10), bool(first & 1))
    at = 1
    try:
        if first & 0x80:
            out.picture_id_offset = at
            out.picture_id, out.picture_id_bits, at = picture_id.read(payload, at)
        if first & 0x20:
            value = payload[at]
            at += 1
            out.layered = True
            out.tid, out.switching_up, out.sid, out.inter_layer = value >> 5, bool(value & 0x10), value >> 1 & 7, bool(value & 1)
            if not out.flexible:
                out.tl0, out.tl0_offset = payload[at], at
                at += 1
        if out.flexible and out.inter:
            references: list[int] = []
            more = 1
            while more:
                if len(references) == 3:
                    raise WireError("VP9: more than three references")
                value = payload[at]
                at += 1
                references.append(value >> 1)
                more = value & 1
            out.references = tuple(references)
        if first & 2:
            out.scalability, at = _scalability(payload, at)
    except IndexError:
        raise WireError("VP9: the descriptor is longer than the payload") from None
    out.size = at
    return out


def keyframe(payload: Buffer) -> bool:
    """Whether a keyframe's lowest layer begins here; False too for what cannot be read."""
    if not len(payload) or payload[0] & 0x48 != 0x08:  # most packets: predicted, or not the start of a frame
        return False
    try:
        return descriptor(payload).keyframe
    except WireError:
        return False


def layer(payload: Buffer) -> tuple[int, int, int, bool, bool] | None:
    """What a relay asks of a packet: (spatial layer, temporal layer, what begins, switching up, the layer frame's end).

    What begins: 2 a layer frame that needs no other, 1 one that needs only the spatial layer below, of the same picture; 0 neither.
    Layers above 3 count as 3. None: the descriptor names no layers, or cannot be read. Quicker than `descriptor`, for every packet.
    """
    size = len(payload)
    if not size or not payload[0] & 0x20:
        return None
    first = payload[0]
    at = 1
    if first & 0x80:
        if size < 2:
            return None
        at = 3 if payload[1] & 0x80 else 2
    if size <= at:
        return None
    value = payload[at]
    begins = 0 if first & 0x48 != 0x08 else 1 if value & 1 else 2
    return min(value >> 1 & 7, 3), min(value >> 5, 3), begins, bool(value & 0x10), bool(first & 4)


def _scalability(payload: Buffer, at: int) -> tuple[Scalability, int]:
    first = payload[at]
    at += 1
    layers = (first >> 5) + 1
    sizes = []
    pictures = []
    if first & 0x10:
        for _ in range(layers):
            sizes.append((payload[at] << 8 | payload[at + 1], payload[at + 2] << 8 | payload[at + 3]))
            at += 4
    if first & 8:
        number = payload[at]
        at += 1
        for _ in range(number):
            value = payload[at]
            at += 1
            references = tuple(payload[at + index] for index in range(value >> 2 & 3))
            at += len(references)
            pictures.append((value >> 5, bool(value & 0x10), references))
    return Scalability(layers, tuple(sizes), tuple(pictures)), at
