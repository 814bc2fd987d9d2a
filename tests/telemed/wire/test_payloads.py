"""Descriptors and keyframes of VP8, VP9, H.264 and AV1."""

import pytest

from telemed.wire import av1, h264, vp8, vp9
from telemed.wire.errors import WireError

from .fuzz import holds, mutated


def test_vp8_with_everything() -> None:
    # RFC 7741 4.2: X and S, then I L T K; 15-bit picture id, tl0, tid 1 with layer sync and keyidx 15
    data = bytes.fromhex("90 f0 ffff 2a 6f 10")
    found = vp8.descriptor(data)
    assert (found.start, found.keyframe, found.picture_id, found.picture_id_bits, found.tl0) == (True, True, 0x7FFF, 15, 0x2A)
    assert (found.tid, found.layer_sync, found.keyidx, found.size) == (1, True, 15, 6)
    assert (found.picture_id_offset, found.tl0_offset, found.tid_offset) == (2, 4, 5)


@pytest.mark.parametrize(("data", "start", "keyframe", "size"), [
    ("10 00", True, True, 1), ("10 01", True, False, 1), ("00 00", False, False, 1), ("11 00", False, False, 1),
    ("9080 05 00", True, True, 3), ("9000 01", True, False, 2), ("9040 07 00", True, True, 3), ("b010 1f 00", True, True, 3),
])  # fmt: skip
def test_vp8_forms(data: str, start: bool, keyframe: bool, size: int) -> None:
    found = vp8.descriptor(bytes.fromhex(data))
    assert (found.start, found.keyframe, found.size) == (start, keyframe, size)
    assert vp8.keyframe(bytes.fromhex(data)) is keyframe


def test_vp8_dimensions() -> None:
    data = bytes.fromhex("10 500100 9d012a 8002 e041")
    assert vp8.dimensions(data) == (640, 480)
    assert vp8.dimensions(data[:8]) is None
    assert vp8.dimensions(bytes.fromhex("10 51")) is None


@pytest.mark.parametrize("data", ["", "90", "9080", "9080ff", "90f0ffff2a", "10"])
def test_vp8_cut_off(data: str) -> None:
    with pytest.raises(WireError):
        vp8.descriptor(bytes.fromhex(data))
    assert not vp8.keyframe(bytes.fromhex(data))


def test_vp9_layers_and_structure() -> None:
    # I L B V; picture id 15 bits, tid 0 sid 0, tl0 9; structure of two layers with sizes and two pictures
    data = bytes.fromhex("aa 8123 00 09 38 0140 00b4 0280 0168 02 00 34 01 ffff")
    found = vp9.descriptor(data)
    assert found.keyframe
    assert vp9.keyframe(data)
    assert (found.picture_id, found.picture_id_bits, found.tl0, found.tl0_offset) == (0x123, 15, 9, 4)
    assert found.scalability == vp9.Scalability(2, ((320, 180), (640, 360)), ((0, False, ()), (1, True, (1,))))
    assert found.size == len(data) - 2
    # sid 1 of the same picture: not the place to begin
    upper = vp9.descriptor(bytes.fromhex("ac 8123 03 09 ff"))
    assert (upper.sid, upper.tid, upper.inter_layer, upper.start, upper.end, upper.keyframe) == (1, 0, True, True, True, False)


def test_vp9_flexible() -> None:
    found = vp9.descriptor(bytes.fromhex("f9 05 52 07 09 0c ff"))
    assert (found.flexible, found.inter, found.picture_id, found.picture_id_bits) == (True, True, 5, 7)
    assert (found.tid, found.switching_up, found.sid, found.non_reference) == (2, True, 1, True)
    assert found.references == (3, 4, 6)
    assert not found.keyframe
    with pytest.raises(WireError, match="three"):
        vp9.descriptor(bytes.fromhex("f9 05 52 07 09 0d 0e ff"))


@pytest.mark.parametrize("data", ["", "80", "8080", "a005", "0a", "0a38", "0a0805"])
def test_vp9_cut_off(data: str) -> None:
    with pytest.raises(WireError):
        vp9.descriptor(bytes.fromhex(data))
    assert not vp9.keyframe(bytes.fromhex(data))


@pytest.mark.parametrize(("data", "units", "keyframe"), [
    ("65 88", [(5, True, True, 0, 2)], True),
    ("41 9a", [(1, True, True, 0, 2)], False),
    ("67 42", [(7, True, True, 0, 2)], True),
    ("78 0002 6742 0003 68ce3c", [(7, True, True, 3, 2), (8, True, True, 7, 3)], True),
    ("78 0001 68", [(8, True, True, 3, 1)], False),
    ("79 0001 0002 6742", [(7, True, True, 5, 2)], True),
    ("7a 0001 0001 00 0000 65", [(5, True, True, 8, 1)], True),
    ("7c 85 88", [(5, True, False, 2, 1)], True),
    ("7c 05 88", [(5, False, False, 2, 1)], False),
    ("7c 45 88", [(5, False, True, 2, 1)], False),
    ("7c 81 9a", [(1, True, False, 2, 1)], False),
])  # fmt: skip
def test_h264(data: str, units: list[tuple[int, bool, bool, int, int]], keyframe: bool) -> None:
    payload = bytes.fromhex(data)
    assert h264.units(payload) == [h264.Unit(*unit) for unit in units]
    assert h264.keyframe(payload) is keyframe


@pytest.mark.parametrize("data", ["", "00", "7e00", "7c", "7d8588", "78", "780000", "78000567", "7800", "78000167ff"])
def test_h264_broken(data: str) -> None:
    with pytest.raises(WireError):
        h264.units(bytes.fromhex(data))
    assert not h264.keyframe(bytes.fromhex(data))


def test_av1_elements() -> None:
    # W=2, N: a sequence header of 3 bytes, then a frame with an extension byte
    data = bytes.fromhex("28 03 08aabb 34 28 cc")
    assert av1.elements(data) == [av1.Element(1, 0, 0, 2, 3), av1.Element(6, 1, 1, 5, 3)]
    assert av1.keyframe(data)
    # Z: the rest of one from before; W=0: every element has its length
    assert av1.elements(bytes.fromhex("80 02 ffff 01 30")) == [av1.Element(-1, -1, -1, 2, 2), av1.Element(6, 0, 0, 5, 1)]
    assert not av1.keyframe(bytes.fromhex("8830"))
    assert not av1.keyframe(b"\x08")
    for bad in ("", "20ff", "2005aa", "00ffffffffffff01", "2001 34", "0001 34"):
        with pytest.raises(WireError):
            av1.elements(bytes.fromhex(bad))


class Bits:
    """Writes what `av1.dependency` reads."""

    def __init__(self) -> None:
        self.text = ""

    def put(self, *pairs: tuple[int, int]) -> "Bits":
        for value, width in pairs:
            self.text += f"{value:0{width}b}" if width else ""
        return self

    def done(self) -> bytes:
        text = self.text + "0" * (-len(self.text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")


def l1t2(active: int | None = None) -> Bits:
    """A keyframe's descriptor: one spatial and two temporal layers, two decode targets, one chain (as L1T2 of the specification)."""
    bits = Bits().put((1, 1), (1, 1), (10, 6), (0x1234, 16), (1, 1), (int(active is not None), 1), (0, 3))
    bits.put((10, 6), (1, 5))  # first template id, two decode targets
    bits.put((0, 2), (1, 2), (3, 2))  # layers: again 0,0; then T1; no more
    bits.put((2, 2), (2, 2), (3, 2), (3, 2), (0, 2), (1, 2))  # S S, R R, - D
    bits.put((0, 1), (1, 1), (1, 4), (0, 1), (1, 1), (0, 4), (0, 1))  # none; 2; 1
    bits.put((1, 1), (0, 1))  # ns(3) of 1: two bits begin with 1, 0
    bits.put((0, 4), (2, 4), (1, 4))
    bits.put((1, 1), (639, 16), (359, 16))
    if active is not None:
        bits.put((active, 2))
    return bits


def test_dependency_descriptor() -> None:
    found = av1.dependency(l1t2().done())
    assert found.keyframe
    assert (found.start, found.end, found.template_id, found.frame_number, found.sid, found.tid) == (True, True, 10, 0x1234, 0, 0)
    structure = found.structure
    assert structure is not None
    assert structure.templates == (
        av1.Template(0, 0, (2, 2), (), (0,)), av1.Template(0, 0, (3, 3), (2,), (2,)), av1.Template(0, 1, (0, 1), (1,), (1,))
    )
    assert structure.targets == ((0, 0), (0, 1))
    assert (structure.protected_by, structure.chains, structure.resolutions) == ((0, 0), 1, ((640, 360),))
    assert found.active == 3
    # A later frame, of the mandatory three bytes only
    later = av1.dependency(bytes((0x80 | 12, 0x12, 0x35)), structure)
    assert (later.tid, later.indications, later.references, later.chains) == (1, (0, 1), (1,), (1,))
    assert not later.keyframe
    assert later.active is None
    assert later.end is False
    # One that says everything itself
    own = Bits().put((0, 1), (1, 1), (11, 6), (7, 16), (0, 1), (1, 1), (1, 1), (1, 1), (1, 1), (1, 2))
    own.put((1, 2), (2, 2)).put((1, 2), (4, 4), (2, 2), (20, 8), (0, 2)).put((200, 8))
    custom = av1.dependency(own.done(), structure)
    assert (custom.active, custom.indications, custom.references, custom.chains) == (1, (1, 2), (5, 21), (200,))
    assert av1.mandatory(own.done()) == (False, True, 11, 7)


def test_dependency_descriptor_that_cannot_be_read() -> None:
    structure = av1.dependency(l1t2().done()).structure
    assert av1.dependency(l1t2(2).done()).active == 2
    for bad, known in ((b"\x80\x00", structure), (b"\x80\x00\x01", None), (bytes((0x80 | 13, 0, 1)), structure),
                       (l1t2().done()[:9], None), (bytes(256), structure), (b"\x80\x00\x01\x40", None)):  # fmt: skip
        with pytest.raises(WireError):
            av1.dependency(bad, known)
    endless = Bits().put((1, 1), (1, 1), (0, 6), (1, 16), (1, 1), (0, 4), (0, 6), (31, 5))
    with pytest.raises(WireError, match="templates"):
        av1.dependency(endless.put(*[(0, 2)] * 300).done())


def test_the_quick_look_for_keyframes_agrees_with_the_whole_reading() -> None:
    """On the packet's path no record is made; what it says is the same."""
    vp9s = ("aa 8123 00 09 38 0140 00b4 0280 0168 02 00 34 01 ff", "88 05 ff")
    begun = {
        "vp8": (vp8.keyframe, lambda data: vp8.descriptor(data).keyframe, ("90 f0 ffff 2a 6f 10", "10 00", "9080 05 00", "b010 1f 00")),
        "vp9": (vp9.keyframe, lambda data: vp9.descriptor(data).keyframe, vp9s),
        "h264": (
            h264.keyframe, lambda data: any(u.start and u.type in (5, 7) for u in h264.units(data)),
            ("78 0002 6742 0003 68ce3c", "7c 85 88", "7a 0001 0001 00 0000 65", "65 88", "7d 85 0000 88"),
        ),
    }  # fmt: skip
    for name, (quick, whole, samples) in begun.items():
        found = set()
        for data in mutated([bytes.fromhex(sample) for sample in samples], 700):
            try:
                expected = whole(data)
            except WireError:
                expected = False
            assert quick(memoryview(data)) is expected, (name, data.hex())
            found.add(expected)
        assert found == {True, False}


def test_the_quick_look_for_layers_agrees_with_the_whole_reading() -> None:
    samples = ("aa 8123 00 09 38 0140 00b4 0280 0168 02 00 34 01 ff", "f9 05 52 07 09 0c ff", "ac 8123 03 09 ff", "a8 05 b6 09 ff")
    found = set()
    for data in mutated([bytes.fromhex(sample) for sample in samples], 900):
        quick = vp9.layer(memoryview(data))
        try:
            whole = vp9.descriptor(data)
        except WireError:
            continue  # it may end after what the quick look needs
        assert (quick is not None) == whole.layered, data.hex()
        if quick is not None:
            begins = 0 if whole.inter or not whole.start else 1 if whole.inter_layer else 2
            assert quick == (min(whole.sid, 3), min(whole.tid, 3), begins, whole.switching_up, whole.end)
            found.add(quick[:3])
    assert len(found) > 20
    assert vp9.layer(b"") is vp9.layer(b"\xa0") is vp9.layer(b"\xa0\x80\x01") is vp9.layer(b"\x20") is None


def test_any_bytes() -> None:
    structure = av1.dependency(l1t2().done()).structure

    def descriptors(data: bytes) -> None:
        av1.dependency(data, structure)

    holds(vp8.descriptor, [bytes.fromhex("90 f0 ffff 2a 6f 10")], 1_500, WireError)
    holds(vp8.dimensions, [bytes.fromhex("10 500100 9d012a 8002 e041")], 500, WireError)
    holds(vp9.descriptor, [bytes.fromhex("aa 8123 00 09 38 0140 00b4 0280 0168 02 00 34 01 ffff"), bytes.fromhex("f9 05 52 07 09 0c ff")],
          1_500, WireError)  # fmt: skip
    h264s = ("78 0002 6742 0003 68ce3c", "7c 85 88", "7a000100010000 0065")
    holds(h264.units, [bytes.fromhex(text) for text in h264s], 700, WireError)
    holds(av1.elements, [bytes.fromhex("28 03 08aabb 34 28 cc"), bytes.fromhex("80 02 ffff 01 30")], 1_000, WireError)
    holds(descriptors, [l1t2().done(), l1t2(1).done()], 2_000, WireError)
    for keyframe in (vp8.keyframe, vp9.keyframe, h264.keyframe, av1.keyframe):
        holds(keyframe, [bytes.fromhex("90f0ffff2a6f10")], 200, ZeroDivisionError)
