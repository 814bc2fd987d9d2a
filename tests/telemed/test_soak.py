"""The long run of the relay reads what the relay says, and every bound that does not hold is told."""

import asyncio
import copy
import random
from collections.abc import Callable

import httpx
import pytest

from bench.relay.abuse import Field
from bench.relay.soak import GAUGES, Course, Look, broken, gauges, table
from telemed.app import create
from telemed.relay.relay import Relay
from telemed.settings import Settings

COUNTS = dict.fromkeys((*GAUGES, "descriptors", "threads"), 3.0)


def good() -> Course:
    course = Course("python", Look(60.0, dict(COUNTS)), level=80.0, after=Look(90.0, dict(COUNTS)), sent=100, heard=100)
    course.see(course.before)
    course.most["log lines"] = 5
    return course


def memory(course: Course) -> None:
    assert course.after is not None
    course.after.memory = 92.1


def count(name: str) -> Callable[[Course], None]:
    def more(course: Course) -> None:
        assert course.after is not None
        course.after.counts[name] = 4.0

    return more


def test_what_comes_back_is_good() -> None:
    assert broken(good()) == []
    assert "| python | tasks | 3 | 3 | 3 |" in table([good()])


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (memory, "memory"), (lambda c: setattr(c, "heard", 99), "honest call lost 1"), (lambda c: setattr(c, "sent", 0), "honest call"),
        (lambda c: setattr(c, "corrupt", 1), "not sent to it"), (lambda c: c.wrong.append("the relay logged: ERROR"), "logged"),
        *((count(name), name) for name in ("peers", "rooms", "tasks", "tcp", "addresses", "handshakes", "descriptors")),
    ],
)  # fmt: skip
def test_every_bound_that_breaks_is_told(spoil: Callable[[Course], None], told: str) -> None:
    course = copy.deepcopy(good())
    spoil(course)
    (said,) = broken(course)
    assert told in said


async def test_the_gauges_are_there() -> None:
    relay = Relay()
    await relay.start()
    try:
        app = create(relay, Settings(secret="a secret of the tests, long enough for all"))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://relay") as http:
            found = gauges((await http.get("/telemed/metrics")).text)
    finally:
        await relay.close()
        await asyncio.sleep(0)
    assert {*GAUGES, "unsent", "strangers", "faults"} <= set(found)
    assert found["tasks"] >= 1


async def test_what_is_mutated_differs_and_is_the_same_for_a_seed() -> None:
    field = Field("http://127.0.0.1:1/telemed", ("127.0.0.1", 1), "s" * 32, 5)
    before = bytes(range(100))
    first = [field.mutated(before) for _ in range(50)]
    field.random = random.Random(5)
    assert [field.mutated(before) for _ in range(50)] == first
    assert sum(one != before for one in first) >= 45
    await field.http.aclose()
