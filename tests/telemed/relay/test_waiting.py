"""The event loop that forwards while it waits: nothing of what a loop is for suffers, and what is Python's comes to Python."""

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from telemed.relay import forward, sockets
from telemed.relay.build import choose
from telemed.relay.relay import ROUNDS, TICK, Relay
from tests.telemed.relay.forms import have
from tests.telemed.relay.honest import call, until
from tests.telemed.relay.test_forward import session
from tests.telemed.relay.test_sockets import Owner, connect, packet

if sys.platform != "linux":
    pytest.skip("there is no epoll elsewhere", allow_module_level=True)

from telemed.relay.waiting import Loop


class Failing(Owner):
    """Takes what the step hands on; `fails` once where it is set."""

    fails = False

    def on_rtcp(self, endpoint: forward.Endpoint, data: bytes, now: float) -> None:
        if self.fails:
            self.fails = False
            raise RuntimeError("a fault of ours")
        super().on_rtcp(endpoint, data, now)


class World:
    """The step in C on a loop that waits by it, and one peer."""

    def __init__(self) -> None:
        media, reports = sockets.bind(socket.AF_INET, "127.0.0.1", 0)
        assert reports is not None
        self.owner = Failing()
        self.step = choose(have("compiled"), media, self.owner, reports)  # type: ignore[arg-type]
        self.sockets = [media, reports]
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        connect(self.step, self.peer)
        self.keys, self.to = session(bytes(range(28)), False), media.getsockname()

    def say(self, data: bytes) -> None:
        self.peer.sendto(self.keys.protect_rtcp(data), self.to)

    def run(self, what: Callable[["World"], Coroutine[Any, Any, None]]) -> None:
        def begin() -> Loop:
            loop = Loop()
            loop.add_reader(self.sockets[0].fileno(), self.step.pump)
            loop.wait_by(self.step.waiter())
            return loop

        try:
            with asyncio.Runner(loop_factory=begin) as runner:
                try:
                    runner.run(what(self))
                finally:
                    loop = runner.get_loop()
                    assert isinstance(loop, Loop)
                    loop.wait_by(None)
                    loop.remove_reader(self.sockets[0].fileno())
        finally:
            for each in (*self.sockets, self.peer):
                each.close()
            self.step.close()


def test_reports_come_without_a_tick_and_with_the_time_of_their_arrival() -> None:
    async def ask(world: World) -> None:
        await asyncio.sleep(0.1)  # Linux begins to stamp datagrams some time after the first socket asks for it
        for n in range(40):
            world.say(packet(0x80, 201, 8 + 4 * n))
        sent = time.monotonic()
        await until(lambda: len(world.owner.got) == 40)
        assert [len(data) for data, _ in world.owner.got] == [8 + 4 * n for n in range(40)]
        assert [now - sent for _, now in world.owner.got if not sent - 1 < now <= sent + 0.02] == []

    World().run(ask)


def test_a_fault_of_ours_costs_one_datagram() -> None:
    async def ask(world: World) -> None:
        world.owner.fails = True
        for kind in (206, 206, 201, 201):  # of both sockets
            world.say(packet(0x80 | (kind == 206), kind, 12 if kind == 206 else 8))
        await until(lambda: len(world.owner.got) == 3)
        assert world.step.faults == 1

    World().run(ask)


def test_timers_other_readers_threads_and_signals_have_their_turn_under_a_flood() -> None:
    async def ask(world: World) -> None:
        loop, ended, seen = asyncio.get_running_loop(), threading.Event(), set()
        ours, theirs = socket.socketpair()
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

        def flood() -> None:
            while not ended.is_set():
                stranger.sendto(bytes([128]) * 200, world.to)

        threads = [threading.Thread(target=flood) for _ in range(2)]
        for thread in threads:
            thread.start()
        loop.add_reader(ours, lambda: seen.add(ours.recv(1)))
        loop.add_signal_handler(signal.SIGUSR1, seen.add, "signal")
        try:
            await until(lambda: world.step.strangers > 1000)
            theirs.send(b"x")
            os.kill(os.getpid(), signal.SIGUSR1)
            threading.Thread(target=loop.call_soon_threadsafe, args=(seen.add, "thread")).start()
            loop.call_later(0.05, seen.add, "timer")
            await until(lambda: seen == {b"x", "signal", "thread", "timer"})
        finally:
            ended.set()
            loop.remove_signal_handler(signal.SIGUSR1)
            loop.remove_reader(ours)
            for thread in threads:
                await asyncio.to_thread(thread.join)
            for each in (ours, theirs, stranger):
                each.close()

    World().run(ask)


def test_it_waits_for_as_long_as_it_is_told_and_not_for_ever() -> None:
    async def ask(world: World) -> None:
        for seconds in (0.0, 0.004, 0.06):
            began = time.monotonic()
            await asyncio.sleep(seconds)
            assert time.monotonic() - began >= seconds
        cpu = time.process_time()
        await asyncio.sleep(0.5)
        assert time.process_time() - cpu < 0.4, "it does not spin"

    World().run(ask)


def test_a_call_on_it_loses_nothing() -> None:
    async def ask() -> None:
        async with call("compiled") as honest:
            assert honest.relay._waits is asyncio.get_running_loop()
            for _ in range(150):
                honest.speak()
                await asyncio.sleep(0.01)
            assert not honest.relay.forwarding.faults

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(ask())


def test_a_tick_comes_late_where_nothing_is_to_be_done_and_soon_once_there_is() -> None:
    async def ask() -> None:
        relay = Relay(tcp=False, step=have("compiled"))
        await relay.start()
        loop = asyncio.get_running_loop()

        def left() -> float:
            assert relay._timer is not None
            return relay._timer.when() - loop.time()

        try:
            await until(lambda: left() > TICK * (ROUNDS - 1))
            relay.soon()
            assert left() <= TICK
            await until(lambda: left() > TICK * (ROUNDS - 1))
        finally:
            await relay.close()
        assert loop._waiting.waiter is None  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(ask())
