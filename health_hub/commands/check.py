"""`health-hub check`: every search key and version held against the documents, every row of the audit trail against its chain.

Status 1 and a list where they disagree. The ends of the chains are printed: who keeps them elsewhere can tell later that none was cut.
"""

import argparse
import asyncio
from typing import Any

from health_hub.settings import Settings


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    p = commands.add_parser("check", parents=[shared], help="hold keys, versions and references against the documents", description=__doc__)
    p.add_argument("--limit", type=int, default=1000, metavar="N", help="list at most N disagreements (default 1000); all are counted")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    return 1 if asyncio.run(_check(Settings.load(db=args.db), args.limit)) else 0


async def _check(settings: Settings, limit: int) -> int:
    from tqdm import tqdm

    from health_hub.store import reindex
    from health_hub.store.store import Store

    found = 0
    heads: list[tuple[int, int, str]] = []
    store = await Store.open(settings.db, **settings.store())
    try:
        visited = 0
        with tqdm(total=await reindex.count(store), unit=" resources", desc="check", disable=None) as bar:

            def progress(n: int) -> None:
                nonlocal visited
                visited += n
                bar.update(n)

            async for line in reindex.check(store, progress):
                found += 1
                if found <= limit:
                    print(line)
        async for line in store.trail.check():
            found += 1
            if found <= limit:
                print(line)
        heads = await store.trail.heads()
    finally:
        await store.close()
    for chain, n, head in heads:
        print(f"audit chain {chain} ends with row {n}: {head}")
    print(f"checked {visited:,} resources: " + (f"{found:,} disagreements" if found else "all consistent"))
    return found
