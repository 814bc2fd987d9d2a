"""`health-hub reindex`: search keys made anew from the documents, beside a running server; can be stopped and run again."""

import argparse
import asyncio
from typing import Any

from health_hub.settings import SettingError, Settings


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    p = commands.add_parser("reindex", parents=[shared], help="make the search keys anew", description=__doc__)
    p.add_argument("--type", action="append", metavar="TYPE", dest="types", help="only this resource type; may be repeated")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from fhir_profiles import tables

    unknown = [t for t in args.types or () if t not in tables.RESOURCE_TYPES]
    if unknown:
        raise SettingError(f"--type: R4 has no resource type {', '.join(unknown)}")
    print(f"reindexed {asyncio.run(_rebuild(Settings.load(db=args.db), tuple(args.types or ()))):,} resources")
    return 0


async def _rebuild(settings: Settings, types: tuple[str, ...]) -> int:
    from tqdm import tqdm

    from health_hub.store import reindex
    from health_hub.store.store import Store

    store = await Store.open(settings.db, **settings.store())
    try:
        with tqdm(total=await reindex.count(store, types), unit=" resources", desc="reindex", disable=None) as bar:

            def progress(n: int) -> None:
                bar.update(n)

            return await reindex.rebuild(store, types, progress)
    finally:
        await store.close()
