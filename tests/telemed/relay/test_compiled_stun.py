"""Binding requests that change nothing are answered in C as Python would; all others are Python's."""

import hashlib
import hmac
import random
import socket
from typing import Any

import pytest

from telemed.wire import stun
from tests.telemed.relay.forms import have

USER, PASSWORD = "3f0a9c55e1d2:theirs", b"0123456789abcdef0123456789abcdef0123"
ADDRESS = ("192.0.2.7", 50_123)


@pytest.fixture
def answer() -> Any:
    """An endpoint in C that is connected, and what answers for it."""
    have("compiled")
    from telemed.relay import compiled
    from telemed.relay.build import library

    lib, ffi = compiled.load(library()), compiled.ffi
    endpoint = compiled.Endpoint(lib, None)
    endpoint.named(USER, PASSWORD)
    endpoint.address = ADDRESS

    def answer(request: bytes, address: tuple[str, int] = ADDRESS) -> bytes | None:
        out, place = ffi.new("uint8_t[128]"), ffi.new("uint8_t[128]", compiled.packed(address))
        size = lib.step_stun(endpoint.c, ffi.from_buffer(bytearray(request)), len(request), place, out)
        return bytes(ffi.buffer(out, size)) if size else None

    answer.endpoint = endpoint  # type: ignore[attr-defined]
    return answer


def request(*more: tuple[int, bytes], user: str = USER, password: bytes = PASSWORD, seed: int = 1) -> bytes:
    attributes = [(stun.USERNAME, user.encode()), (stun.PRIORITY, b"\x6e\x00\x1e\xff"), (stun.ICE_CONTROLLING, bytes(8)), *more]
    return stun.build(stun.REQUEST, random.Random(seed).randbytes(12), attributes, password)


def test_hmac_sha1_is_that_of_the_standard_library() -> None:
    have("compiled")
    from telemed.relay import compiled
    from telemed.relay.build import library

    lib, ffi, rng = compiled.load(library()), compiled.ffi, random.Random(7)
    out = ffi.new("uint8_t[20]")
    for size in [*range(200), 511, 512, 513, 4_096]:
        key, data = rng.randbytes(rng.randrange(65)), rng.randbytes(size)
        lib.step_sha1(ffi.from_buffer(key) if key else ffi.NULL, len(key), ffi.from_buffer(data) if data else ffi.NULL, size, out)
        assert bytes(ffi.buffer(out)) == hmac.digest(key, data, hashlib.sha1), (len(key), size)


@pytest.mark.parametrize("seed", range(20))
def test_both_forms_give_the_same_answer(answer: Any, seed: int) -> None:
    rng = random.Random(seed)
    host, port = ".".join(str(rng.randrange(256)) for _ in range(4)), rng.randrange(1, 65_536)
    asked = request((0xC057, rng.randbytes(rng.choice((4, 5, 8)))), seed=seed)
    assert answer(asked, (host, port)) == stun.success(stun.parse(asked), host, port, PASSWORD)


def test_a_nomination_of_the_address_in_use_changes_nothing_and_any_other_is_pythons(answer: Any) -> None:
    nominated = request((stun.USE_CANDIDATE, b""))
    assert answer(nominated) == stun.success(stun.parse(nominated), *ADDRESS, PASSWORD)
    assert answer(nominated, ("192.0.2.7", 50_124)) is None
    assert answer(nominated, ("192.0.2.8", 50_123)) is None
    assert answer(request(), ("192.0.2.8", 50_123)) is not None
    answer.endpoint.tcp = object()
    assert answer(nominated) is None


def test_what_is_not_plainly_good_is_pythons(answer: Any) -> None:
    good = request()
    assert answer(good) is not None
    others = {
        "another user": request(user="3f0a9c55e1d2:other"),
        "another password": request(password=PASSWORD[:-1] + b"x"),
        "the other role": request((stun.ICE_CONTROLLED, bytes(8))),
        "no signature": stun.build(stun.REQUEST, bytes(12), [(stun.USERNAME, USER.encode())]),
        "two names": request((stun.USERNAME, USER.encode())),
        "an answer": stun.success(stun.parse(good), *ADDRESS, PASSWORD),
        "IPv6": good,
    }
    assert {why: answer(data, ("2001:db8::1", 9) if why == "IPv6" else ADDRESS) for why, data in others.items()} == dict.fromkeys(others)
    answer.endpoint.named("x" * 129, PASSWORD)
    assert answer(request(user="x" * 129)) is None


def test_any_change_of_a_bit_and_any_cut_is_pythons(answer: Any) -> None:
    good = request((stun.USE_CANDIDATE, b""))
    for bit in range(len(good) * 8):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        assert answer(bytes(bad)) is None, f"bit {bit}"
    for size in range(len(good)):
        assert answer(good[:size]) is None
    rng = random.Random(3)
    for _ in range(5_000):
        noise = bytearray(good if rng.random() < 0.5 else rng.randbytes(4 * rng.randrange(140)))
        for _ in range(rng.randrange(4)):
            if noise:
                noise[rng.randrange(len(noise))] = rng.choice((0, 4, 8, 20, 128, 255))
        if bytes(noise) != good:
            assert answer(bytes(noise)) is None


def test_over_the_socket_a_connected_peer_is_heard_and_answered_and_others_are_told_of() -> None:
    from tests.telemed.relay.test_compiled_feedback import Step

    have("compiled")
    step = Step()
    asked: list[bytes] = []
    step.on_stun = lambda data, address: asked.append(data)  # type: ignore[attr-defined]
    try:
        step.endpoint.named(USER, PASSWORD)
        step.peer.sendto(request(), step.sock.getsockname())
        step.step.pump()
        answered = stun.parse(step.peer.recv(200))
        assert (answered.kind, answered.authentic(PASSWORD)) == (stun.SUCCESS, True)
        mapped = stun.unmapped(answered.attributes[stun.XOR_MAPPED_ADDRESS], answered.transaction)
        assert mapped == step.peer.getsockname()
        assert step.endpoint.heard > 0
        assert not asked
        wrong = request(password=b"wrong")
        step.peer.sendto(wrong, step.sock.getsockname())
        step.step.pump()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(request(), step.sock.getsockname())
            step.step.pump()
        assert asked == [wrong, request()]
        step.endpoint.rx = None
    finally:
        step.close()
