"""What seal.c and seal.py make of a packet against what libsrtp makes of it: the same bytes, over rounds of the number and out of order."""

import random

import pytest

from telemed.relay import seal as in_python
from telemed.relay import srtp
from telemed.relay.build import NotBuilt, library

try:
    from telemed.relay import compiled

    lib = compiled.load(library())
except NotBuilt:
    pytest.skip("the step is not compiled: python -m telemed.relay.build", allow_module_level=True)


class All:
    """The same keys, sealed by libsrtp, by seal.c and by seal.py."""

    def __init__(self, profile: srtp.Profile) -> None:
        key = random.Random(profile.libsrtp).randbytes(profile.key + profile.salt)
        self.theirs = srtp.Keys(profile, key, False)
        self._keys = srtp.Keys(profile, key, False)
        self.ours = compiled.seal(lib, self._keys)
        self._last = srtp.Keys(profile, key, False)
        self._cipher = in_python.cipher(self._last, srtp.lib.srtp_protect)
        self.ways: dict[int, in_python.Way] = {}
        self._buffer = bytearray(2048)
        self._length = srtp.ffi.new("int *")

    def seal(self, packet: bytes, head: int = 12) -> tuple[bytes | None, bytes | None, bytes | None]:
        """By libsrtp, by C, by Python; None where it is refused. `head`: octets of header and extensions."""
        return (
            self._by(srtp.lib.srtp_protect, self.theirs.pointer, packet), self._by(lib.step_protect, self.ours, packet),
            self._in_python(packet[:head], packet[head:]),
        )  # fmt: skip

    def _in_python(self, head: bytes, payload: bytes) -> bytes | None:
        if len(head) < 12:
            return None
        ssrc = int.from_bytes(head[8:12])
        way = self.ways.get(ssrc)
        if way is None:
            way = self.ways[ssrc] = in_python.Way(ssrc)
            way.begin(*self._cipher)
        try:
            return way.seal(head, payload)
        except in_python.Refused:
            return None

    def _by(self, protect: object, keys: object, packet: bytes) -> bytes | None:
        self._buffer[: len(packet)] = packet
        self._length[0] = len(packet)
        refused = protect(keys, srtp.ffi.from_buffer(self._buffer), self._length)  # type: ignore[operator]
        return None if refused else bytes(self._buffer[: self._length[0]])


def rtp(sequence: int, ssrc: int, payload: bytes, extension: bytes = b"", sources: int = 0) -> bytes:
    first = 0x80 | sources | (0x10 if extension else 0)
    head = bytes([first, 96]) + (sequence & 0xFFFF).to_bytes(2) + (sequence * 960 & 0xFFFFFFFF).to_bytes(4) + ssrc.to_bytes(4)
    return head + bytes(4 * sources) + extension + payload


@pytest.mark.parametrize("profile", srtp.PROFILES, ids=lambda p: p.name.decode())
def test_the_same_bytes_as_libsrtp(profile: srtp.Profile) -> None:
    all_three, rng = All(profile), random.Random(5)
    sequences = {ssrc: rng.randrange(0x10000) for ssrc in (1, 0xDEADBEEF, 0xFFFFFFFF)}
    for turn in range(6000):
        ssrc = rng.choice(list(sequences))
        # Ahead by up to a quarter of a round, so that there are many; now and then one of before, as what is resent or came late.
        sequences[ssrc] += rng.choice((1, 1, 1, 7, 900, 16_000))
        sequence = sequences[ssrc] - (rng.randrange(400) if turn % 5 == 0 else 0)
        extension = rng.choice((b"", bytes.fromhex("bede000110000100"), bytes.fromhex("bede000000")[:4]))
        sources = rng.choice((0, 0, 0, 2))
        packet = rtp(sequence, ssrc, rng.randbytes(rng.choice((0, 1, 15, 16, 17, 160, 1200))), extension, sources)
        theirs, c, python = all_three.seal(packet, 12 + 4 * sources + len(extension))
        assert theirs is not None
        assert c == theirs, (turn, sequence, ssrc)
        assert python == theirs, (turn, sequence, ssrc)


@pytest.mark.parametrize("first", [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
@pytest.mark.parametrize("then", [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFE])
def test_the_index_of_the_second_packet_wherever_a_stream_begins(first: int, then: int) -> None:
    all_three = All(srtp.PROFILES[0])
    for sequence in (first, then, first + 1, then + 1):
        theirs, c, python = all_three.seal(rtp(sequence, 7, b"sound"))
        assert c == theirs
        assert python == theirs


def test_what_is_no_packet_is_refused() -> None:
    all_three = All(srtp.PROFILES[0])
    cut = rtp(1, 2, b"")[:11], rtp(1, 2, b"", sources=15)[:40], rtp(1, 2, b"", b"\xbe\xde\xff\xff"), rtp(1, 2, b"", b"\xbe\xde")
    for packet in (b"", b"\x80", *cut):
        assert all_three.seal(packet)[1] is None


def test_openssl_is_found_where_pylibsrtp_carries_it() -> None:
    assert compiled._CRYPTO is not None


@pytest.mark.parametrize("profile", srtp.PROFILES, ids=lambda p: p.name.decode())
def test_a_way_without_keys_and_a_packet_too_old_are_refused(profile: srtp.Profile) -> None:
    way = in_python.Way(7)
    with pytest.raises(in_python.Refused):
        way.seal(rtp(1, 7, b""), b"sound")
    keys = srtp.Keys(profile, bytes(profile.key + profile.salt), False)
    way.begin(*in_python.cipher(keys, srtp.lib.srtp_protect))
    way.seal(rtp(5000, 7, b""), b"sound")
    with pytest.raises(in_python.Refused):
        way.seal(rtp(5000 - in_python.WINDOW, 7, b""), b"sound")
    if way.highest >= 0:
        way.highest = (1 << 48) - 1
        with pytest.raises(in_python.Refused):
            way.seal(rtp(0, 7, b""), b"sound")
