"""Binding requests like the one before are answered without being read: the same answer as ever, and nothing else is taken for one."""

import random

import pytest

from telemed.relay import srtp
from telemed.relay.build import choose
from telemed.relay.consent import Consent
from telemed.wire import stun
from tests.telemed.relay.ends import loopback
from tests.telemed.relay.test_compiled_stun import PASSWORD, request
from tests.telemed.relay.test_forward import PROFILE

PLACES = [("192.0.2.7", 50_123), ("2001:db8::7", 9)]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("more", [(), ((stun.USE_CANDIDATE, b""),), ((0xC057, b"abcde"),)])
def test_the_answer_is_the_one_that_reading_gives(place: tuple[str, int], more: tuple[tuple[int, bytes], ...]) -> None:
    consent = Consent(request(*more), PASSWORD, *place)
    for seed in range(2, 20):
        again = request(*more, seed=seed)
        assert Consent.plain(again)
        assert consent.answer(again) == stun.success(stun.parse(again), *place, PASSWORD)


def test_any_change_of_a_bit_and_any_cut_is_another_request() -> None:
    good = request((stun.USE_CANDIDATE, b""))
    consent = Consent(good, PASSWORD, *PLACES[0])
    for bit in range(len(good) * 8):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        assert consent.answer(bytes(bad)) is None, f"bit {bit}"
    for size in range(len(good)):
        assert consent.answer(good[:size]) is None
    for other in (request(), request((stun.USE_CANDIDATE, b""), password=PASSWORD[:-1] + b"x"), request((stun.ICE_CONTROLLED, bytes(8)))):
        assert consent.answer(other) is None


def test_what_does_not_end_in_signature_and_fingerprint_is_not_taken_as_a_pattern() -> None:
    good = request()
    assert Consent.plain(good)
    for other in (b"", good[:51], good[:-8], stun.build(stun.REQUEST, bytes(12), [(stun.USERNAME, b"x" * 40)])):
        assert not Consent.plain(other)


class Relayed:
    """A connected peer at one address, and what its owner was told."""

    def __init__(self) -> None:
        self.sock, self.peer = loopback(2)
        self.step = choose("python", self.sock, self)  # type: ignore[arg-type]
        self.endpoint = self.step.endpoint(None)
        self.asked: list[bytes] = []

    def on_stun(self, data: bytes, address: tuple[str, int]) -> None:
        self.asked.append(data)
        self.step.send_to(address, stun.success(stun.parse(data), *address, PASSWORD))
        self.endpoint.consents(data, PASSWORD, address, address)

    def ask(self, data: bytes) -> bytes:
        self.peer.sendto(data, self.sock.getsockname())
        self.step.pump()
        return self.peer.recv(2000)

    def close(self) -> None:
        for each in (self.sock, self.peer):
            each.close()
        self.step.close()


def test_over_the_socket_the_second_request_is_answered_and_heard_and_a_new_session_is_asked_anew() -> None:
    world, rng = Relayed(), random.Random(1)
    try:
        here = world.peer.getsockname()
        world.step.know(here, world.endpoint)
        world.ask(request(seed=1))
        world.ask(request(seed=2))
        assert len(world.asked) == 2, "no address is in use, no keys are there: nothing is known that could repeat"
        world.endpoint.address = here
        world.endpoint.secure(srtp.Keys(PROFILE, rng.randbytes(28), True), srtp.Keys(PROFILE, rng.randbytes(28), False))
        world.ask(request(seed=3))
        assert len(world.asked) == 3
        again = request(seed=4)
        assert world.ask(again) == stun.success(stun.parse(again), *here, PASSWORD)
        assert len(world.asked) == 3
        assert world.endpoint.heard > 0
        world.ask(request((stun.USE_CANDIDATE, b""), seed=5))
        assert len(world.asked) == 4
        world.endpoint.named("other:theirs", PASSWORD)
        world.ask(request((stun.USE_CANDIDATE, b""), seed=6))
        assert len(world.asked) == 5
        world.endpoint.address = ("127.0.0.1", 9)  # another one is in use now
        world.ask(request((stun.USE_CANDIDATE, b""), seed=7))
        world.ask(request((stun.USE_CANDIDATE, b""), seed=8))
        assert len(world.asked) == 7
    finally:
        world.close()
