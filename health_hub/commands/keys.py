"""`health-hub keys`: the keys that tokens are signed with."""

import argparse
import time
from typing import TYPE_CHECKING, Any

from health_hub.commands.authority import Shown, Work, run

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    p = commands.add_parser("keys", help="signing keys", description=__doc__)
    steps = p.add_subparsers(metavar="STEP", required=True)

    def step(name: str, help: str, work: Work) -> None:
        s = steps.add_parser(name, parents=[shared], help=help, description=f"`health-hub keys {name}`: {help}.")
        s.add_argument("--json", action="store_true", help="print JSON")
        s.set_defaults(run=run, work=work)

    step("rotate", "make new keys; running servers sign with them within seconds, tokens signed before stay good until they end", _rotate)
    step("list", "list the keys that are published", _list)


async def _rotate(authority: "Authority", args: argparse.Namespace) -> Shown:
    from health_hub.auth.audit import AuthEvent

    made = await authority.keys.rotate()
    await authority.audit(AuthEvent("key-rotated", detail="command line"))
    return [{"kid": kid} for kid in made]


async def _list(authority: "Authority", args: argparse.Namespace) -> Shown:
    def shown(seconds: int | None) -> str:
        return "" if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

    return [{"kid": k.kid, "alg": k.alg, "signs_from": shown(k.starts), "published_until": shown(k.until)} for k in authority.keys.all()]
