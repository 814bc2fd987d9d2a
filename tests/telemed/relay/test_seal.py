"""What seal.c makes of a packet against what libsrtp makes of it: the same bytes, over rounds of the sequence number and out of order."""

import random

import pytest

from telemed.relay import srtp
from telemed.relay.build import NotBuilt, library

try:
    from telemed.relay import compiled

    lib = compiled.load(library())
except NotBuilt:
    pytest.skip("the step is not compiled: python -m telemed.relay.build", allow_module_level=True)


class Both:
    """The same keys, sealed by libsrtp and by seal.c."""

    def __init__(self, profile: srtp.Profile) -> None:
        key = random.Random(profile.libsrtp).randbytes(profile.key + profile.salt)
        self.theirs = srtp.Keys(profile, key, False)
        self._keys = srtp.Keys(profile, key, False)
        self.ours = compiled.seal(lib, self._keys)
        self._buffer = bytearray(2048)
        self._length = srtp.ffi.new("int *")

    def seal(self, packet: bytes) -> tuple[bytes | None, bytes | None]:
        """By libsrtp, by us; None where it is refused."""
        return self._by(srtp.lib.srtp_protect, self.theirs.pointer, packet), self._by(lib.step_protect, self.ours, packet)

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
    both, rng = Both(profile), random.Random(5)
    sequences = {ssrc: rng.randrange(0x10000) for ssrc in (1, 0xDEADBEEF, 0xFFFFFFFF)}
    for turn in range(6000):
        ssrc = rng.choice(list(sequences))
        # Ahead by up to a quarter of a round, so that there are many; now and then one of before, as what is resent or came late.
        sequences[ssrc] += rng.choice((1, 1, 1, 7, 900, 16_000))
        sequence = sequences[ssrc] - (rng.randrange(400) if turn % 5 == 0 else 0)
        extension = rng.choice((b"", bytes.fromhex("bede000110000100"), bytes.fromhex("bede000000")[:4]))
        packet = rtp(sequence, ssrc, rng.randbytes(rng.choice((0, 1, 15, 16, 17, 160, 1200))), extension, rng.choice((0, 0, 0, 2)))
        theirs, ours = both.seal(packet)
        assert theirs is not None
        assert ours == theirs, (turn, sequence, ssrc)


@pytest.mark.parametrize("first", [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
@pytest.mark.parametrize("then", [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFE])
def test_the_index_of_the_second_packet_wherever_a_stream_begins(first: int, then: int) -> None:
    both = Both(srtp.PROFILES[0])
    for sequence in (first, then, first + 1, then + 1):
        theirs, ours = both.seal(rtp(sequence, 7, b"sound"))
        assert ours == theirs


def test_what_is_no_packet_is_refused() -> None:
    both = Both(srtp.PROFILES[0])
    cut = rtp(1, 2, b"")[:11], rtp(1, 2, b"", sources=15)[:40], rtp(1, 2, b"", b"\xbe\xde\xff\xff"), rtp(1, 2, b"", b"\xbe\xde")
    for packet in (b"", b"\x80", *cut):
        assert both.seal(packet)[1] is None


def test_openssl_is_found_where_pylibsrtp_carries_it() -> None:
    assert compiled._CRYPTO is not None
