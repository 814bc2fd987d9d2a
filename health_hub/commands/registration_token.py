"""`health-hub registration-token`: an initial access token, with which an application may register itself (RFC 7591)."""

import argparse
import asyncio
import json
import sys
from typing import Any

from health_hub.settings import Settings


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    p = commands.add_parser("registration-token", parents=[shared], help="a token to register applications with", description=__doc__)
    p.add_argument("--uses", type=int, default=1, metavar="N", help="applications it may register (default 1)")
    p.add_argument("--expires-in", type=int, default=86_400, metavar="SECONDS", help="how long it lives (default 86400, a day)")
    p.add_argument("--system", action="store_true", help="they may have system scopes and client credentials")
    p.add_argument("--organization", metavar="REF", help="Organization/ID that system applications act for (default: the province)")
    p.add_argument("--json", action="store_true", help="print JSON")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        token = asyncio.run(_make(args))
    except ValueError as e:
        print(f"health-hub: {e}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps({"registration_token": token, "uses": args.uses, "expires_in": args.expires_in, "system": args.system}))
    else:
        print(token)
    return 0


async def _make(args: argparse.Namespace) -> str:
    from health_hub.auth.registration import initial_token
    from health_hub.store.store import Store

    settings = Settings.load(db=args.db)
    store = await Store.open(settings.db, **settings.store())
    try:
        return await initial_token(
            store.records, uses=args.uses, expires_in=args.expires_in, system=args.system, organization=args.organization
        )
    finally:
        await store.close()
