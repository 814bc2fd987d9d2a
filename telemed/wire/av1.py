"""What an AV1 packet says of itself (AV1 RTP specification v1.0): the aggregation header and the dependency descriptor extension."""

from dataclasses import dataclass

from telemed.wire.buffer import Buffer
from telemed.wire.errors import WireError

SEQUENCE_HEADER = 1
NOT_PRESENT, DISCARDABLE, SWITCH, REQUIRED = 0, 1, 2, 3  # decode target indications
_MAX_TEMPLATES = 64
_MAX_DESCRIPTOR = 255  # what a two-byte header extension holds


@dataclass(frozen=True, slots=True)
class Element:
    """One OBU element of a packet; type and layers are -1 for the rest of one that began in the packet before."""

    type: int
    tid: int
    sid: int
    offset: int
    size: int


def elements(payload: Buffer) -> list[Element]:
    """4.3 to 4.5. Raises WireError."""
    size = len(payload)
    if not size:
        raise WireError("AV1: empty")
    first = payload[0]
    count = first >> 4 & 3
    out: list[Element] = []
    at = 1
    while at < size:
        if count and len(out) == count - 1:
            length = size - at
        else:
            length, at = _leb128(payload, at)
        if at + length > size or (count and len(out) >= count):
            raise WireError("AV1: an element runs over the end")
        if first & 0x80 and not out:
            out.append(Element(-1, -1, -1, at, length))
        elif length:
            header = payload[at]
            tid = sid = 0
            if header & 4:
                if length < 2:
                    raise WireError("AV1: an OBU without its extension byte")
                tid, sid = payload[at + 1] >> 5, payload[at + 1] >> 3 & 3
            out.append(Element(header >> 3 & 15, tid, sid, at, length))
        at += length
    return out


def keyframe(payload: Buffer) -> bool:
    """Whether a coded video sequence begins here (the N bit, 4.4), as it does at a keyframe."""
    return len(payload) > 1 and payload[0] & 0x88 == 8


def _leb128(payload: Buffer, at: int) -> tuple[int, int]:
    value = 0
    for index in range(5):
        if at >= len(payload):
            break
        byte = payload[at]
        at += 1
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            return value, at
    raise WireError("AV1: a length without end")


# --- Dependency descriptor (appendix A)


@dataclass(frozen=True, slots=True)
class Template:
    """A kind of frame that recurs (A.8.3): its layer, what it is to each decode target, the frames it needs, its chains."""

    sid: int
    tid: int
    indications: tuple[int, ...]
    references: tuple[int, ...]  # frame number differences
    chains: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Structure:
    """What a keyframe announces for the frames until the next."""

    offset: int  # of template ids
    templates: tuple[Template, ...]
    targets: tuple[tuple[int, int], ...]  # per decode target its (spatial, temporal) layer
    protected_by: tuple[int, ...] = ()  # per decode target its chain
    chains: int = 0
    resolutions: tuple[tuple[int, int], ...] = ()  # per spatial layer width, height


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Of one packet. `structure` is new in this packet, else None: keep the last one of the stream."""

    start: bool  # of the frame
    end: bool
    template_id: int
    frame_number: int  # 16 bits
    sid: int
    tid: int
    indications: tuple[int, ...]
    references: tuple[int, ...]
    chains: tuple[int, ...]
    structure: Structure | None
    active: int | None  # active decode targets as bits, lowest first; None: as before

    @property
    def keyframe(self) -> bool:
        return self.structure is not None


def mandatory(data: Buffer) -> tuple[bool, bool, int, int]:
    """(start, end, template id, frame number): what can be read without a structure. Raises WireError."""
    if len(data) < 3:
        raise WireError("dependency descriptor: cut off")
    return bool(data[0] & 0x80), bool(data[0] & 0x40), data[0] & 63, data[1] << 8 | data[2]


def dependency(data: Buffer, structure: Structure | None = None) -> Descriptor:
    """The whole descriptor; `structure` is the last one announced in the stream. Raises WireError, also if there is none."""
    start, end, template_id, frame_number = mandatory(data)
    bits = _Bits(data)
    bits.take(24)
    fresh: Structure | None = None
    active: int | None = None
    custom_indications = custom_references = custom_chains = 0
    if len(data) > 3:
        present, active_present = bits.take(1), bits.take(1)
        custom_indications, custom_references, custom_chains = bits.take(1), bits.take(1), bits.take(1)
        if present:
            fresh = structure = _structure(bits)
            active = (1 << len(fresh.targets)) - 1
        if active_present:
            if structure is None:
                raise WireError("dependency descriptor: no structure yet")
            active = bits.take(len(structure.targets))
    if structure is None:
        raise WireError("dependency descriptor: no structure yet")
    index = (template_id - structure.offset) % 64
    if index >= len(structure.templates):
        raise WireError(f"dependency descriptor: template {template_id}")
    template = structure.templates[index]
    indications, references, chains = template.indications, template.references, template.chains
    if custom_indications:
        indications = tuple(bits.take(2) for _ in structure.targets)
    if custom_references:
        found = []
        while width := bits.take(2):
            found.append(bits.take(4 * width) + 1)
        references = tuple(found)
    if custom_chains:
        chains = tuple(bits.take(8) for _ in range(structure.chains))
    return Descriptor(
        start, end, template_id, frame_number, template.sid, template.tid, indications, references, chains, fresh, active
    )


class _Bits:
    """Bits of a short buffer, highest first."""

    __slots__ = ("left", "value")

    def __init__(self, data: Buffer) -> None:
        if len(data) > _MAX_DESCRIPTOR:
            raise WireError(f"dependency descriptor: {len(data)} bytes")
        self.value = int.from_bytes(data, "big")
        self.left = 8 * len(data)

    def take(self, count: int) -> int:
        self.left -= count
        if self.left < 0:
            raise WireError("dependency descriptor: cut off")
        return self.value >> self.left & ((1 << count) - 1)

    def below(self, count: int) -> int:
        """ns(n) of the AV1 specification, 4.10.7: a value from 0 to count - 1."""
        width = count.bit_length()
        short = (1 << width) - count
        value = self.take(width - 1)
        return value if value < short else (value << 1) - short + self.take(1)


def _structure(bits: _Bits) -> Structure:
    """A.8.3; what it may cost is bounded by the bits there are."""
    offset = bits.take(6)
    targets = bits.take(5) + 1
    layers = []
    sid = tid = 0
    while True:
        layers.append((sid, tid))
        if len(layers) > _MAX_TEMPLATES:
            raise WireError("dependency descriptor: more than 64 templates")
        step = bits.take(2)
        if step == 1:
            tid += 1
        elif step == 2:
            sid, tid = sid + 1, 0
        elif step == 3:
            break
    if sid > 3 or any(layer[1] > 7 for layer in layers):
        raise WireError("dependency descriptor: more layers than AV1 has")
    indications = [tuple(bits.take(2) for _ in range(targets)) for _ in layers]
    references = []
    for _ in layers:
        found = []
        while bits.take(1):
            found.append(bits.take(4) + 1)
        references.append(tuple(found))
    chains = bits.below(targets + 1)
    protected: tuple[int, ...] = ()
    differences: list[tuple[int, ...]] = [() for _ in layers]
    if chains:
        protected = tuple(bits.below(chains) for _ in range(targets))
        differences = [tuple(bits.take(4) for _ in range(chains)) for _ in layers]
    of_target = []
    for target in range(targets):
        needed = [layer for layer, wanted in zip(layers, indications, strict=True) if wanted[target] != NOT_PRESENT]
        of_target.append((max((s for s, _ in needed), default=0), max((t for _, t in needed), default=0)))
    resolutions: tuple[tuple[int, int], ...] = ()
    if bits.take(1):
        resolutions = tuple((bits.take(16) + 1, bits.take(16) + 1) for _ in range(sid + 1))
    templates = tuple(
        Template(*layer, *parts) for layer, *parts in zip(layers, indications, references, differences, strict=True)
    )
    return Structure(offset, templates, tuple(of_target), protected, chains, resolutions)
