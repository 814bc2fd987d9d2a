"""`python -m bench`: one hub on one core, PostgreSQL on the other, every answer checked; `--write` puts the table into docs/performance.md.

python -m bench [--database postgresql|sqlite] [--observations 500000] [--patients 100000] [--seconds 10] [--write]
"""

import argparse
import asyncio
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop
from tqdm import tqdm

from bench.processes import Hub, Postgres, memory
from bench.work import Measured, Work

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
KINDS = ("create", "read", "search", "newest", "name", "bundle", "walk")
# What is counted, the floor on two cores, and the reference server's figure for each CPU-second (HAPI JPA 8.8 on PostgreSQL 15).
ABOUT: dict[str, tuple[str, int | None, int | None]] = {
    "read": ("read by id", 6000, 1601),
    "create": ("create Observation", 1500, 409),
    "search": ("subject + code, newest 20", 2000, 147),
    "newest": ("code only, newest 20", None, None),
    "name": ("Patient?name= prefix", 1500, 155),
    "bundle": ("Synthea transactions, resources", 3000, 803),
    "walk": ("all pages of 1,000, resources", 30000, 8826),
}


def machine() -> str:
    model = next(
        (x.split(":", 1)[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")),
        platform.machine(),
    )
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    postgres = Postgres(1) if args.database == "postgresql" else None
    folder = tempfile.TemporaryDirectory(prefix="hub-bench-")
    hub = Hub(postgres.url if postgres else f"sqlite:///{folder.name}/hub.db", 0)
    rows: list[Measured] = []
    try:
        work = Work(hub.port, hub.pid, postgres.pid if postgres else None)
        each = max(10, args.observations // args.patients) if args.patients < args.observations else 10
        full = args.observations // each
        with tqdm(total=args.observations + args.patients, unit="res", desc="seed", file=sys.stderr) as bar:
            await work.seed(full, each, bar.update)
            if args.patients > full:  # the rest of the patients, without observations, for the search by name
                with_observations, work.each = list(work.patients), 0
                await work.seed(args.patients, 0, bar.update)
                work.patients, work.each = with_observations, each
        if postgres:
            subprocess.run([f"{postgres.bin}/psql", "-q", postgres.url, "-c", "VACUUM ANALYZE"], check=True)  # noqa: ASYNC221  nothing else is to run
        for kind in args.kinds or KINDS:
            m = await work.timed(kind, 3600 if kind == "bundle" else args.seconds)
            rows.append(m)
            print(json.dumps(m.row()), *m.failed[:2], sep="\n", flush=True)
        used = memory(hub.pid)
        hub.stop()
        hub.start()
        return {"rows": rows, "memory": used, "start": hub.started_in}
    finally:
        hub.stop()
        if postgres:
            postgres.remove()
        folder.cleanup()


def table(args: argparse.Namespace, got: dict[str, Any]) -> str:
    beside = "PostgreSQL and the load generator" if args.database == "postgresql" else "the load generator"
    size = f"--observations {args.observations} --patients {args.patients} --seconds {args.seconds:g}"
    lines = [
        f"{machine()}; {args.observations:,} Observations, {args.patients:,} patients; hub on core 0, {beside} on core 1.",
        f"Command: `python -m bench --database {args.database} {size}`",
        "",
        "| work | per s | floor | p50 / p95 ms | per CPU-s of hub and database | reference, per CPU-s | times |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for m in got["rows"]:
        name, floor, reference = ABOUT[m.work]
        cells = [
            name,
            f"{m.rate:,.0f}",
            f"{floor:,}" if floor else "",
            f"{m.quantile(0.5):.2f} / {m.quantile(0.95):.2f}",
            f"{m.rate_cpu:,.0f}",
            f"{reference:,}" if reference else "",
            f"{m.rate_cpu / reference:.1f}" if reference else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"Memory of the hub after the load: {got['memory']:.0f} MB. Start until the first answer: {got['start']:.1f} s."]
    return "\n".join(lines)


def write(name: str, text: str) -> None:
    """Replaces the marked part of docs/performance.md."""
    old = DOCUMENT.read_text()
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin not in old:
        old += f"\n{begin}\n{end}\n"
    DOCUMENT.write_text(re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{text}\n{end}", old, flags=re.DOTALL))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    p.add_argument("--observations", type=int, default=500_000)
    p.add_argument("--patients", type=int, default=100_000)
    p.add_argument("--seconds", type=float, default=10)
    p.add_argument("--write", action="store_true")
    p.add_argument("kinds", nargs="*", help=f"of {', '.join(KINDS)}; all when none is named")
    args = p.parse_args()
    os.sched_setaffinity(0, {1})  # the load generator shares the database's core, never the hub's
    uvloop.install()
    got = asyncio.run(measure(args))
    print(table(args, got))
    if args.write:
        write(f"{args.database}-{args.observations}", table(args, got))
    if any(m.failed for m in got["rows"]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
