"""`python -m bench.relay`: the relay on core 0, the load on core 1; `--write` puts the table into docs/performance.md.

python -m bench.relay [--seconds 10] [--repeat 3] [--rtcload PATH --peer livekit=SCRIPT --peer galene=SCRIPT] [--write] [scenario ...]
"""

import argparse
import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import uvloop
from tqdm import tqdm

from bench.__main__ import machine, write
from bench.relay.relays import KNOWN
from bench.relay.scenarios import SCENARIOS, Options, Row


def pairs(values: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (v.partition("=") for v in values)}


def table(rows: list[Row], command: str, tool: Path | None) -> str:
    by = f"by {tool.name} in the first rows and for delay, else by bench/relay itself" if tool else "by bench/relay itself"
    lines = [
        f"{machine()}; relay on core 0, load on core 1, {by}. CPU is user and system time from /proc.", f"Command: `{command}`", "",
        "| measure | relay | goal | measured | met | beside |", "| --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for r in rows:
        met = {True: "yes", False: "**no**", None: ""}[r.good]
        lines.append(f"| {r.what} | {r.relay} | {r.goal} | {r.measured} | {met} | {r.note} |")
    return "\n".join(lines)


async def measure(wanted: list[str], options: Options) -> list[Row]:
    rows: list[Row] = []
    for name in wanted:
        found = await SCENARIOS[name](options)
        rows += found
        for row in found:
            tqdm.write(json.dumps(asdict(row), ensure_ascii=False))
    return rows


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seconds", type=float, default=10, help="of each measured stretch")
    p.add_argument("--repeat", type=int, default=3, help="times each comparison, in turn")
    p.add_argument("--sound-seconds", type=float, default=300)
    p.add_argument("--form", action="append", default=[], metavar="NAME=ARGUMENTS", help="a form of our relay; default both")
    p.add_argument("--rtcload", type=Path, help="the outside tool, for side-by-side runs")
    p.add_argument("--peer", action="append", default=[], metavar="NAME=SCRIPT", help=f"another relay: {', '.join(KNOWN)}; needs --rtcload")
    p.add_argument("--write", action="store_true")
    p.add_argument("scenarios", nargs="*", help=f"of {', '.join(SCENARIOS)}; all when none is named")
    args = p.parse_args()
    unknown = [s for s in args.scenarios if s not in SCENARIOS] + [n for n in pairs(args.peer) if n not in KNOWN]
    if unknown or (args.peer and not args.rtcload):
        p.error(f"unknown: {', '.join(unknown)}" if unknown else "--peer needs --rtcload")
    os.sched_setaffinity(0, {1})
    uvloop.install()
    wanted = args.scenarios or list(SCENARIOS)
    with tqdm(desc="relay", unit=" runs", file=sys.stderr) as bar:

        def tell(what: str) -> None:
            bar.set_description(what)
            bar.update()

        forms = pairs(args.form) or {name: f"--step {name}" for name in ("python", "compiled")}
        options = Options(forms, pairs(args.peer), args.rtcload, args.seconds, args.repeat, args.sound_seconds, tell)
        rows = asyncio.run(measure(wanted, options))
    text = table(rows, "python -m bench.relay " + " ".join(sys.argv[1:]), args.rtcload)
    print(text)
    if args.write:
        write("relay", text)
    if any(r.good is False for r in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
