"""`health-hub export`: every current resource as NDJSON, one file a type, in the words they were sent in."""

import argparse
import asyncio
import gzip
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from health_hub.settings import SettingError, Settings


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    p = commands.add_parser("export", parents=[shared], help="write NDJSON files by type", description=__doc__)
    p.add_argument("folder", type=Path, metavar="FOLDER", help="where the files go; created if absent")
    p.add_argument("--type", action="append", metavar="TYPE", dest="types", help="only this resource type; may be repeated")
    p.add_argument("--since", metavar="INSTANT", help="only what changed at or after this time, e.g. 2026-11-01T00:00:00+07:00")
    p.add_argument("--gzip", action="store_true", help="write .ndjson.gz")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from fhir_profiles import tables

    settings = Settings.load(db=args.db)
    unknown = [t for t in args.types or () if t not in tables.RESOURCE_TYPES]
    if unknown:
        raise SettingError(f"--type: R4 has no resource type {', '.join(unknown)}")
    since = _instant(args.since)
    args.folder.mkdir(parents=True, exist_ok=True)
    written = asyncio.run(export(settings.db, args.folder, tuple(args.types or ()), since, compress=args.gzip))
    for name, count in sorted(written.items()):
        print(f"{count:10,} {name}")
    return 0


def _instant(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        if not re.search(r"(Z|[+-]\d\d:\d\d)\Z", text):
            raise ValueError("no time zone")
        return int(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)
    except ValueError as e:
        raise SettingError(f"--since is an instant with a time zone, not {text!r} ({e})") from None


def _create(path: Path, *, compress: bool) -> IO[bytes]:
    if compress:
        return gzip.open(path, "wb", compresslevel=6)  # type: ignore[return-value]
    return path.open("wb")


async def export(db: str, folder: Path, types: tuple[str, ...], since_ms: int | None, *, compress: bool) -> dict[str, int]:
    """Files are complete or absent: each is written beside its place and moved there at the end."""
    from tqdm import tqdm

    from health_hub.access.entry import Entry, encode
    from health_hub.store.store import Store

    suffix = ".ndjson.gz" if compress else ".ndjson"
    files: dict[str, IO[bytes]] = {}
    counts: dict[str, int] = {}
    store = await Store.open(db)
    said = Entry(time.time_ns() // 1_000_000, "export", "R", 200, name="command line", target=",".join(types), note="export to files")
    await store.commit([], trail=[encode(said)])
    try:
        with tqdm(unit=" resources", disable=None) as bar:
            async for stored in store.view().scan(types, since_ms):
                if stored.deleted or stored.doc is None:
                    continue
                if stored.type not in files:
                    part = folder / f"{stored.type}{suffix}.part"
                    files[stored.type] = _create(part, compress=compress)
                    counts[stored.type] = 0
                files[stored.type].write(stored.doc + b"\n")
                counts[stored.type] += 1
                bar.update()
    finally:
        for f in files.values():
            f.close()
        await store.close()
    for name in files:
        (folder / f"{name}{suffix}.part").replace(folder / f"{name}{suffix}")
    return {f"{name}{suffix}": n for name, n in counts.items()}
