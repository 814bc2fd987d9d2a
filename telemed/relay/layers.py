"""Spatial and temporal layers of one stream (SVC; VP9: RFC 9628, AV1: its dependency descriptor) on their way to each subscriber."""

from typing import TYPE_CHECKING, Final

from telemed.relay.dependency import Chain, Reader
from telemed.wire import vp9

if TYPE_CHECKING:
    from telemed.relay.forward import Forwarder, Forwarding, Stream

ALL_LAYERS: Final = 3  # four spatial and four temporal layers at most are told apart
NUMBERED, VP9, AV1 = 1, 2, 3  # Stream.layered: temporal layers of VP8; spatial and temporal ones (SVC)


def forward(
    step: "Forwarding", stream: "Stream", second: int, sequence: int, rtp: int, level: int, payload: memoryview, described: bytes,
    late: bool, now: float,
) -> bool:
    """To each subscriber the layers that were chosen for it. False: the packet names no layer, and goes as any other.

    Numbers of pictures stay the publisher's: a receiver of SVC expects that layers, and pictures of them, are missing.
    """
    if second & 127 != stream.svc:
        return False
    if stream.layered == AV1:
        return _av1(step, stream, second, sequence, rtp, level, payload, described, late, now)
    layer = vp9.layer(payload)
    if layer is None:
        return False
    spatial, temporal, _, _, end = layer
    stream.layer_bytes[4 * spatial + temporal] += len(payload)
    for forwarder in stream.forwarders:
        kind = forwarder.payload_types[second]
        if not kind or forwarder.endpoint.tx is None:
            continue
        if late:
            if spatial > forwarder.top or temporal > forwarder.passing:
                continue
        elif not _goes(step, forwarder, layer, sequence, rtp):
            step.skip(forwarder, sequence)
            continue
        offsets = step.due(forwarder, stream, sequence, late)
        if offsets is None:
            continue
        if end and spatial == offsets[4]:
            kind |= 0x80  # the last packet that a picture has for this subscriber (RFC 9628 4.1)
        number, stamp = (sequence + offsets[0]) & 0xFFFF, (rtp + offsets[1]) & 0xFFFFFFFF
        step.deliver(forwarder, kind, number, stamp, level, payload, late, now)
    return True


def _av1(
    step: "Forwarding", stream: "Stream", second: int, sequence: int, rtp: int, level: int, payload: memoryview, described: bytes,
    late: bool, now: float,
) -> bool:
    """The same of AV1, whose frames say in a header extension what they are; it goes on as it came.

    What cannot be read goes to everybody: its structure may have been lost, and will be sent again.
    """
    if not described:
        stream.descriptors.pop(sequence & stream.mask, None)
        return False
    if stream.reader is None:
        stream.reader = Reader()
    frame = stream.reader.read(described, late, now)
    stream.descriptors[sequence & stream.mask] = (described, frame.spatial if frame is not None else -1)
    if frame is not None:
        stream.layer_bytes[4 * frame.spatial + frame.temporal] += len(payload)
    for forwarder in stream.forwarders:
        kind = forwarder.payload_types[second]
        if not kind or forwarder.endpoint.tx is None:
            continue
        if frame is not None:
            chain = forwarder.chain
            if chain is None:
                chain = forwarder.chain = Chain()
            goes = chain.takes(frame, forwarder.spatial, forwarder.temporal, rtp, late)
            if not late and forwarder.top != chain.top:
                _reach(step, forwarder, chain.top, sequence)
            if not goes:
                if not late:
                    step.skip(forwarder, sequence)
                continue
        offsets = step.due(forwarder, stream, sequence, late)
        if offsets is None:
            continue
        if frame is not None and described[0] & 0x40 and frame.spatial == offsets[4]:
            kind |= 0x80  # the last packet that a temporal unit has for this subscriber (4.2)
        number, stamp = (sequence + offsets[0]) & 0xFFFF, (rtp + offsets[1]) & 0xFFFFFFFF
        step.deliver(forwarder, kind, number, stamp, level, payload, late, now, described)
    return True


def _goes(step: "Forwarding", forwarder: "Forwarder", layer: tuple[int, int, int, bool, bool], sequence: int, rtp: int) -> bool:
    """Whether a layer frame of VP9 goes to this subscriber. Layers are left between pictures, and taken up where none is needed
    that the subscriber does not have.
    """
    spatial, temporal, begins, up, _ = layer
    if rtp != forwarder.frame:
        forwarder.frame = rtp
        passing, top = min(forwarder.passing, forwarder.temporal), min(forwarder.top, forwarder.spatial)
        if begins == 2:
            passing, top = forwarder.temporal, forwarder.spatial
        elif up and temporal <= passing:
            passing = forwarder.temporal  # later pictures of higher layers need none of those before this one (RFC 9628 4.2, U)
        forwarder.passing = passing
        if top != forwarder.top:
            _reach(step, forwarder, top, sequence)
    elif (
        begins and forwarder.top < spatial <= forwarder.spatial and temporal <= forwarder.passing
        and (begins == 2 or spatial == forwarder.top + 1)
    ):  # fmt: skip
        _reach(step, forwarder, spatial, sequence)  # the layer begins within a picture: it needs at most the one below
    return spatial <= forwarder.top and temporal <= forwarder.passing


def _reach(step: "Forwarding", forwarder: "Forwarder", top: int, sequence: int) -> None:
    """Another highest spatial layer from `sequence` on."""
    if sequence != forwarder.switched:
        step.remember(forwarder)
    forwarder.top, forwarder.switched = top, sequence
