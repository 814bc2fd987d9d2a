"""The authorization server as a command needs it: its parts, told of the record as a running hub is, and nothing that watches."""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from health_hub.settings import Settings

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority

Shown = dict[str, Any] | list[dict[str, Any]]
Work = Callable[["Authority", argparse.Namespace], Awaitable[Shown]]


def run(args: argparse.Namespace) -> int:
    """For `set_defaults(run=run, work=...)`: does the work and prints what it answers; what may not be is said, with status 2."""
    from health_hub.auth.model import AuthError

    try:
        shown = asyncio.run(_run(args))
    except (ValueError, LookupError) as e:
        print(f"health-hub: {e.args[0] if e.args else e}", file=sys.stderr)
        return 2
    except AuthError as e:
        print(f"health-hub: {e.description}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(shown, ensure_ascii=False))
        return 0
    for line in shown if isinstance(shown, list) else [shown]:
        if len(line) == 1:
            print(*line.values())  # to be taken over by a shell as it is
        else:
            print("\n".join(f"{k}: {' '.join(v) if isinstance(v, list) else v}" for k, v in line.items() if v not in ("", None, [])))
    return 0


async def _run(args: argparse.Namespace) -> Shown:
    async with opened(args.db) as authority:
        return await args.work(authority, args)  # type: ignore[no-any-return]


@asynccontextmanager
async def opened(db: str | None) -> AsyncIterator["Authority"]:
    from health_hub.access.connect import Connected
    from health_hub.access.gate import Gate
    from health_hub.auth.authority import Authority, issuer_of
    from health_hub.store.store import Store

    settings = Settings.load(db=db)
    # As `serve` fills it: what is made here is for the hub that runs with these settings.
    settings = replace(settings, base_url=settings.base_url or f"{issuer_of(settings)}/fhir")
    store = await Store.open(settings.db, **settings.store())
    try:
        authority = Authority(store, settings)
        await authority.keys.load()
        Connected(Gate(authority))
        yield authority
    finally:
        await store.close()
