"""`python -m telemed`: one relay process, signalling and media."""

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import sys
from collections.abc import Sequence
from types import FrameType
from typing import cast

import uvicorn

from telemed.app import create
from telemed.directory.choose import agent as agent_of
from telemed.relay.build import Form, NotBuilt, built
from telemed.relay.relay import Relay
from telemed.settings import SettingError, Settings

DESCRIPTORS = 65_536


def parser() -> argparse.ArgumentParser:
    """Every option; what is not here is a variable TELEMED_<NAME>."""
    p = argparse.ArgumentParser(prog="telemed", description="A relay for video consultations. Every setting is a variable TELEMED_<NAME>.")
    p.add_argument("--host", help="address that signalling listens on (default 127.0.0.1)")
    p.add_argument("--port", type=int, help="port that signalling listens on (default 8090)")
    p.add_argument("--udp-host", default="127.0.0.1", help="address that media listens on (default 127.0.0.1)")
    p.add_argument("--udp-port", type=int, default=40_000, help="UDP port of media (default 40000)")
    p.add_argument("--announce", metavar="HOST[:PORT]", action="append", default=[], help="address of media as clients see it, repeatable")
    p.add_argument("--no-auth", action="store_true", help="rooms open by their name, without tokens; on a loopback address only")
    p.add_argument("--step", choices=("auto", "python", "compiled"), help="form of the forwarding step (default auto)")
    p.add_argument("--secret-env", metavar="NAME", default="TELEMED_SECRET", help="variable that holds the secret of join tokens")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT. The exit status: 0 ended, 1 not started, 2 wrong settings."""
    args = parser().parse_args(argv)
    try:
        settings = Settings.load(
            host=args.host, port=args.port, open=args.no_auth or None, step=args.step, secret=os.environ.get(args.secret_env)
        )
        announce = tuple(_address(text, args.udp_port) for text in args.announce)
    except (SettingError, ValueError) as e:
        print(f"telemed: {e}", file=sys.stderr)
        return 2
    _descriptors()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        with asyncio.Runner(loop_factory=_waiting if sys.platform == "linux" and built(settings.step) else _loop) as runner:
            return runner.run(_serve(settings, args, announce))
    except OSError as e:
        print(f"telemed: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _descriptors() -> None:
    """As many as this user may have: each WebSocket and TCP candidate is one, and the usual limit of 1,024 is for programs with few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Server(uvicorn.Server):
    """uvicorn's, woken once a second instead of ten times: a relay that is waited for has better things in its caches."""

    _loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._told.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop is not None:  # else it has not begun, and looks before it waits
            self._loop.call_soon_threadsafe(self._told.set)


def _waiting() -> asyncio.AbstractEventLoop:
    """What forwards without waking Python."""
    from telemed.relay.waiting import Loop

    return Loop()


def _loop() -> asyncio.AbstractEventLoop:
    """The Python form is woken for each datagram; uvloop spends a third less on that. It does not exist for Windows."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _serve(settings: Settings, args: argparse.Namespace, announce: tuple[tuple[str, int], ...]) -> int:
    relay = Relay(args.udp_host, args.udp_port, announce, step=cast(Form, settings.step))
    agent = agent_of(settings)
    try:
        await relay.start()
    except NotBuilt as e:
        print(f"telemed: TELEMED_STEP=compiled: {e}; python -m telemed.relay.build builds it", file=sys.stderr)
        return 2
    try:
        app = create(relay, settings, agent.sink) if agent is not None else create(relay, settings)
        config = uvicorn.Config(
            agent.attach(app, relay) if agent is not None else app, host=settings.host.strip("[]"), port=settings.port, log_level="warning",
            lifespan="on", ws="websockets-sansio", ws_max_size=settings.message_bytes * 4, ws_ping_interval=None, server_header=False,
            timeout_graceful_shutdown=3,
        )  # fmt: skip
        server = _Server(config)
        await server.serve()
        return 0 if server.started else 1
    finally:
        await relay.close()


def _address(text: str, port: int) -> tuple[str, int]:
    host, colon, given = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        return text.strip("[]"), port
    return host.strip("[]"), int(given)


if __name__ == "__main__":
    sys.exit(main())
