"""`health-hub db upgrade`: bring the database to this version's schema. The other commands do so by themselves."""

import argparse
import asyncio
from typing import Any

from health_hub.settings import Settings


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    p = commands.add_parser("db", help="database upkeep", description=__doc__)
    steps = p.add_subparsers(metavar="STEP", required=True)
    upgrade = steps.add_parser("upgrade", parents=[shared], help="create the tables, or bring them to this version")
    upgrade.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from health_hub.store.store import HEAD
    from health_hub.store.upgrade import upgrade

    settings = Settings.load(db=args.db)
    asyncio.run(upgrade(settings.db))
    print(f"schema {HEAD}")
    return 0
