"""`python -m bench.guarded`: what access control and the audit trail cost, side by side; `--write` puts the table into docs/performance.md.

Two hubs over one database, on one core, one after the other: without access control, and with it. PostgreSQL and the load generator are
on the other core. The trail is left out and kept in turn within one process, on the same connections: two processes of the same program
differ by a tenth, and a shared machine by more from one second to the next.
"""

import argparse
import asyncio
import json
import os
import signal
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
WAYS = {"open": "`--no-auth`", "policy": "token and policy, no trail", "trail": "token, policy and trail"}
SWITCH = {"policy": signal.SIGUSR1, "trail": signal.SIGUSR2}
WARM = 0.3  # seconds before each measurement
ROUNDS = 2  # times each hub is started
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


Found = dict[tuple[str, str, int], list[Measured]]  # by way, kind of work and connections


async def measure(args: argparse.Namespace) -> Found:
    os.environ["HEALTH_HUB_ACCESS_TOKEN_SECONDS"] = "86400"
    os.environ["HEALTH_HUB_BASE_URL"] = BASE  # one for all hubs: the index knows it
    postgres = Postgres(1) if args.database == "postgresql" else None
    folder = tempfile.TemporaryDirectory(prefix="hub-bench-")
    database = postgres.url if postgres else f"sqlite:///{folder.name}/hub.db"
    found: Found = {}
    try:
        hub = Hub(database, 0)
        work = Work(hub.port, hub.pid, None)
        with tqdm(total=args.observations + args.patients, unit="res", desc="seed", file=sys.stderr) as bar:
            await work.seed(args.patients, args.observations // args.patients, bar.update)
            await treated(work)
        patients, observations, each = work.patients, work.observations, work.each
        hub.stop()
        for round in range(ROUNDS):
            for auth in (False, True):
                hub = Hub(database, 0, auth=auth, program="bench.untrailed")
                try:
                    held = await token(database) if auth else None
                    for clients in args.clients:
                        work = Work(hub.port, hub.pid, postgres.pid if postgres else None, clients=clients, token=held)
                        work.patients, work.observations, work.each = patients, observations, each
                        for kind in KINDS:
                            for turn in range(round, args.turns, ROUNDS):
                                await one_turn(work, kind, args.seconds, turn, auth, found)
                finally:
                    hub.stop()
        return found
    finally:
        if postgres:
            postgres.remove()
        folder.cleanup()


async def one_turn(work: Work, kind: str, seconds: float, turn: int, auth: bool, found: Found) -> None:
    """Each way once, the other way round every second time."""
    ways = (["policy", "trail"] if turn // ROUNDS % 2 == 0 else ["trail", "policy"]) if auth else ["open"]
    for way in ways:
        if auth:
            os.kill(work.server, SWITCH[way])
        m = await work.timed(kind, seconds, WARM)
        found.setdefault((way, kind, len(work.clients)), []).append(m)
        print(way, len(work.clients), m.row(), *m.failed[:2], flush=True)


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


def table(args: argparse.Namespace, found: Found) -> str:
    names = {"read": "read by id", "search": "subject + code, newest 20", "create": "create Observation"}
    connections = " ".join(map(str, args.clients))
    lines = [
        f"{machine()}; {args.database}, {args.observations:,} Observations of {args.patients:,} patients, all under treatment at the asking"
        f" facility; {args.turns} turns of {args.seconds:g} s, medians (quartiles); hub on core 0, the rest on core 1.",
        f"Command: `python -m bench.guarded --database {args.database} --observations {args.observations} --patients {args.patients}"
        f" --clients {connections} --seconds {args.seconds:g} --turns {args.turns}`",
        "",
        "| work | connections | "
        + " | ".join(f"{said}, per s" for said in WAYS.values())
        + " | the trail costs | of the hub's CPU | CPU us each, hub + database |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind in KINDS:
        for clients in args.clients:
            runs = {way: found[way, kind, clients] for way in WAYS}
            rates = " | ".join(f"{statistics.median(m.rate for m in several):,.0f}" for several in runs.values())
            turns = list(zip(runs["policy"], runs["trail"], strict=True))
            rate = quartiles([1 - t.rate / max(p.rate, 1) for p, t in turns])
            work = quartiles([1 - (p.server_cpu / p.count) / (t.server_cpu / t.count) for p, t in turns])
            each = " / ".join(
                f"{statistics.median(m.server_cpu / m.count for m in several) * 1e6:.0f}"
                f" + {statistics.median(m.database_cpu / m.count for m in several) * 1e6:.0f}"
                for several in runs.values()
            )
            lines.append(f"| {names[kind]} | {clients} | {rates} | {rate} | {work} | {each} |")
    return "\n".join(lines)


def quartiles(shares: list[float]) -> str:
    """Median of shares and its quartiles, in percent."""
    shares = sorted(shares)
    return f"{statistics.median(shares):.0%} ({shares[len(shares) // 4]:.0%} to {shares[-1 - len(shares) // 4]:.0%})"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    p.add_argument("--observations", type=int, default=100_000)
    p.add_argument("--patients", type=int, default=10_000)
    p.add_argument("--clients", type=int, nargs="+", default=[16, 32, 64])
    p.add_argument("--seconds", type=float, default=0.5)
    p.add_argument("--turns", type=int, default=40)
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
