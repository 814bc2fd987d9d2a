"""`health-hub relay`: a relay for video consultations alone, on a machine of its own or beside others.

It reads TELEMED_<NAME> for what is its own (TURN servers, limits; docs/telemed.md), and the hub's settings for what they share.
"""

import argparse
import os
import socket
import threading
from collections.abc import Mapping
from typing import Any

from health_hub.settings import PREFIX, Settings

CHILD = f"{PREFIX}RELAY_CHILD"  # set by `serve` for the one that it runs


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    defaults = Settings()
    p = commands.add_parser("relay", parents=[shared], help="run a relay for video consultations alone", description=__doc__)
    p.add_argument("--bind", metavar="HOST", help=f"address of its signalling, for the hub's processes (default {defaults.relay_bind})")
    p.add_argument("--port", type=int, metavar="N", help="port of its signalling (default: a free one)")
    p.add_argument("--udp-port", type=int, metavar="N", help=f"port of its media (default {defaults.relay_udp_port})")
    p.add_argument("--announce", metavar="HOST", help="address of this machine as clients see it")
    p.add_argument("--node", metavar="NAME", help="its name among the relays, the same after a restart (default HOST:UDP-PORT)")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    settings = Settings.load(db=args.db, relay_bind=args.bind, relay_udp_port=args.udp_port, relay_host=args.announce)
    port = args.port or free_port(settings.relay_bind)
    os.environ.update(environment(settings, os.environ, port, args.node))
    if os.environ.get(CHILD):
        threading.Thread(target=_end_with_parent, daemon=True).start()
    from telemed.__main__ import main

    return int(main(arguments(settings, port)))


def environment(settings: Settings, given: Mapping[str, str], port: int, node: str | None = None) -> dict[str, str]:
    """What the relay is told beside its arguments; what the operator said by TELEMED_<NAME> stays. Raises SettingError."""
    from health_hub.auth.authority import issuer_of
    from health_hub.consult import relays

    host = f"[{settings.relay_bind}]" if ":" in settings.relay_bind else settings.relay_bind
    if settings.relay_bind in ("0.0.0.0", "::"):  # noqa: S104  it is what is asked about
        host = socket.gethostname()
    told = {
        "TELEMED_SECRET": given.get("TELEMED_SECRET") or relays.secret(settings),
        "TELEMED_ISSUER": issuer_of(settings),
        "TELEMED_DIRECTORY": relays.directory_url(settings),
        "TELEMED_NODE": node or f"{socket.gethostname()}:{settings.relay_udp_port}",
        "TELEMED_ADDRESS": f"{host}:{port}",
    }
    if not settings.auth:
        told["TELEMED_OPEN"] = "1"
    if "TELEMED_MESSAGES" not in given and settings.db.startswith("sqlite:///"):
        # Beside the database of one machine; a name of its own for each relay, since one process has the folder.
        beside = settings.db.removeprefix("sqlite:///").removesuffix(".db")
        told["TELEMED_MESSAGES"] = f"{beside}.messages-{settings.relay_udp_port}"
    return {name: given.get(name) or value for name, value in told.items()}


def arguments(settings: Settings, port: int) -> list[str]:
    """For telemed.__main__."""
    from telemed.settings import loopback

    # Media is for everybody's devices as soon as the hub is, or an address is announced for it.
    inside = not settings.relay_host and loopback(settings.host) and loopback(settings.relay_bind)
    out = ["--host", settings.relay_bind, "--port", str(port), "--udp-host", "127.0.0.1" if inside else "0.0.0.0"]  # noqa: S104
    out += ["--udp-port", str(settings.relay_udp_port), "--secret-env", "TELEMED_SECRET"]
    if settings.relay_host:
        out += ["--announce", settings.relay_host]
    return out if settings.auth else [*out, "--no-auth"]


def free_port(host: str) -> int:
    """One that nobody listens on now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as s:
        s.bind((host.strip("[]"), 0))
        return int(s.getsockname()[1])


def _end_with_parent() -> None:
    """`serve` holds the other end of our standard input: when that closes, however it ended, so do we."""
    import signal

    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
