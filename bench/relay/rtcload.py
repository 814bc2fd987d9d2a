"""The same loads by an outside tool, `rtcload` (Go, pion), which also speaks to other relays; only where its path is given."""

import json
import subprocess
import tempfile
from pathlib import Path

from bench.relay.load import Plan, Report
from bench.relay.relays import Ours, Peer


def run(path: Path, plan: Plan, relay: Ours | Peer | None, core: int = 1) -> Report:
    """One load; None: without a relay. Raises SystemExit when the tool fails."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as out:
        command = ["taskset", "-c", str(core), str(path.resolve()), "-rooms", str(plan.rooms), "-subs", str(plan.watchers)]
        command += ["-seconds", f"{plan.seconds:.0f}", "-warm", f"{plan.warm:.0f}", "-video-kbps", str(plan.kbps), "-json", out.name]
        command += ["-loss", str(plan.loss), "-seed", str(plan.seed)] + (["-twoway"] if plan.two_way else [])
        if relay is None:
            command.append("-direct")
        else:
            command += ["-whip", relay.whip, "-whep", relay.whep]
            command += ["-pid", str(relay.pid), *relay.options]
        done = subprocess.run(command, cwd=path.resolve().parent, capture_output=True, text=True, check=False)
        lines = Path(out.name).read_text().splitlines()
    if not lines:
        raise SystemExit(f"rtcload: {done.stdout[-500:]} {done.stderr[-500:]}")
    got = json.loads(lines[-1])
    return Report(
        rooms=got["Rooms"], watchers=got["Subs"], seconds=got["Seconds"], sent=got["Sent"], expected=got["Expected"],
        received=got["Received"],
        p50=got["P50Ms"], p99=got["P99Ms"], longest=got["MaxMs"], corrupt=got["Corrupt"] + got["Stray"], duplicates=got["Dups"],
        late=got["Late"], breaks=got["SeqBreaks"] + got["TSBreaks"], rtx=got["RTX"], dropped=got["Dropped"], plis=got["PLIs"],
        silence_ms=got["LongestAudioGapMs"], silences=got["AudioGapsOver200ms"], cpu_us=got["USPerForwarded"],
        cpu_percent=got["RelayCPUPercent"], tool_percent=got["LoadToolCPUPercent"], other_percent=max(0.0, got["OtherCPUPercent"]),
        memory_mb=got["RelayRSSMB"], failed=got.get("Errors") or (["sessions failed"] if got["Failed"] else []),
    )  # fmt: skip
