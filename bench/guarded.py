"""`python -m bench.guarded`: what access control and the audit trail cost, side by side; `--write` puts the table into docs/performance.md.

Three hubs over one database, on one core, one after the other and again in the other order; PostgreSQL and the load generator on the other.
What the trail costs is told from turn to turn, of two hubs that ran one after the other: many short turns say more than few long ones on a
machine whose speed others change.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from typing import Any

import uvloop
from tqdm import tqdm

from bench.__main__ import machine, write
from bench.processes import Hub, Postgres
from bench.work import Measured, Work

KINDS = tuple(os.environ.get("BENCH_KINDS", "read search create").split())
WAYS = {
    "open": ("`--no-auth`", False, "health_hub.cli"),
    "policy": ("token and policy, no trail", True, "bench.untrailed"),
    "trail": ("token, policy and trail", True, "health_hub.cli"),
}
WARM = 1.0  # seconds before each measurement
FACILITY = "Organization/bench"
BASE = "http://hub.bench/fhir"


async def token(database: str) -> str:
    """Of a facility's system that treats every patient; valid for the whole run."""
    from health_hub.auth.authority import Authority
    from health_hub.settings import Settings
    from health_hub.store.store import Store

    store = await Store.open(database, base=BASE)
    try:
        authority = Authority(store, Settings.load())
        await authority.keys.load()
        made, _ = authority.tokens.issue(subject="bench", client="bench", role="system", scope="system/*.cruds", organization=FACILITY)
        return made
    finally:
        await store.close()


async def measure(args: argparse.Namespace) -> dict[tuple[str, str], list[Measured]]:
    os.environ["HEALTH_HUB_ACCESS_TOKEN_SECONDS"] = "86400"
    os.environ["HEALTH_HUB_BASE_URL"] = BASE  # one for all hubs: the index knows it
    postgres = Postgres(1) if args.database == "postgresql" else None
    folder = tempfile.TemporaryDirectory(prefix="hub-bench-")
    database = postgres.url if postgres else f"sqlite:///{folder.name}/hub.db"
    found: dict[tuple[str, str], list[Measured]] = {}
    try:
        hub = Hub(database, 0)
        work = Work(hub.port, hub.pid, None)
        with tqdm(total=args.observations + args.patients, unit="res", desc="seed", file=sys.stderr) as bar:
            await work.seed(args.patients, args.observations // args.patients, bar.update)
            await treated(work)
        patients, observations, each = work.patients, work.observations, work.each
        hub.stop()
        for turn in range(args.turns):
            for way in list(WAYS) if turn % 2 == 0 else reversed(list(WAYS)):
                _, auth, program = WAYS[way]
                hub = Hub(database, 0, auth=auth, program=program)
                try:
                    held = await token(database) if auth else None
                    work = Work(hub.port, hub.pid, postgres.pid if postgres else None, clients=args.clients, token=held)
                    work.patients, work.observations, work.each = patients, observations, each
                    for kind in KINDS:
                        m = await work.timed(kind, args.seconds, WARM)
                        found.setdefault((way, kind), []).append(m)
                        print(way, m.row(), *m.failed[:2], flush=True)
                finally:
                    hub.stop()
        return found
    finally:
        if postgres:
            postgres.remove()
        folder.cleanup()


async def treated(work: Work) -> None:
    """An open Encounter of every patient at the facility."""
    client = work.clients[0]
    for at in range(0, len(work.patients), 500):
        entries = [
            {
                "resource": {
                    "resourceType": "Encounter", "status": "in-progress", "class": {"code": "AMB"}, "subject": {"reference": p},
                    "serviceProvider": {"reference": FACILITY},
                },
                "request": {"method": "POST", "url": "Encounter"},
            }
            for p in work.patients[at : at + 500]
        ]  # fmt: skip
        await client.call("POST", "/fhir", json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode())


def table(args: argparse.Namespace, found: dict[tuple[str, str], list[Measured]]) -> str:
    def rate(way: str, kind: str) -> float:
        return statistics.median(m.rate for m in found[way, kind])

    def cpu(way: str, kind: str) -> float:
        return statistics.median((m.server_cpu + m.database_cpu) / m.count * 1e6 for m in found[way, kind])

    names = {"read": "read by id", "search": "subject + code, newest 20", "create": "create Observation"}
    lines = [
        f"{machine()}; {args.database}, {args.observations:,} Observations of {args.patients:,} patients, all under treatment at the asking"
        f" facility; {args.clients} connections, {args.turns} turns of {args.seconds:g} s, medians (quartiles); hub on core 0,"
        " the rest on core 1.",
        f"Command: `python -m bench.guarded --database {args.database} --observations {args.observations} --patients {args.patients}"
        f" --clients {args.clients} --seconds {args.seconds:g} --turns {args.turns}`",
        "",
        "| work | " + " | ".join(f"{said}, per s" for said, _, _ in WAYS.values()) + " | the trail costs | CPU us each |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for kind in KINDS:
        rates = [f"{rate(way, kind):,.0f}" for way in WAYS]
        costs = sorted(1 - t.rate / max(p.rate, 1) for p, t in zip(found["policy", kind], found["trail", kind], strict=True))
        middle, low, high = statistics.median(costs), costs[len(costs) // 4], costs[-1 - len(costs) // 4]
        each = " / ".join(f"{cpu(way, kind):.0f}" for way in WAYS)
        lines.append(f"| {names[kind]} | {' | '.join(rates)} | {middle:.0%} ({low:.0%} to {high:.0%}) | {each} |")
    return "\n".join(lines)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    p.add_argument("--observations", type=int, default=100_000)
    p.add_argument("--patients", type=int, default=10_000)
    p.add_argument("--clients", type=int, default=16)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--turns", type=int, default=12)
    p.add_argument("--write", action="store_true")
    args = p.parse_args()
    os.sched_setaffinity(0, {1})
    uvloop.install()
    found: Any = asyncio.run(measure(args))
    print(table(args, found))
    if args.write:
        write(f"guarded-{args.database}", table(args, found))
    if any(m.failed for several in found.values() for m in several):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
