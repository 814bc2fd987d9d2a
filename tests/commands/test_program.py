"""The program as a person runs it: serve, load, export, check, in processes of their own."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.databases import Cluster

PROGRAM = (sys.executable, "-W", "error", "-m", "health_hub.cli")


def run(*words: str, expect: int = 0, **environ: str) -> str:
    done = subprocess.run([*PROGRAM, *words], capture_output=True, text=True, timeout=60, env=os.environ | environ, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def serving(*words: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    process = subprocess.Popen([*PROGRAM, "serve", "--no-auth", "--port", str(port), *words], stderr=subprocess.PIPE)
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                if httpx.get(f"{base}/health/ready").status_code == 200:
                    break
            except httpx.TransportError:
                assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
                time.sleep(0.05)
        else:
            raise AssertionError("it does not answer")
        yield base, process
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


def patients(n: int) -> str:
    made = ({"resourceType": "Patient", "id": f"p{k}", "name": [{"family": "Đặng"}], "birthDate": "1980-05"} for k in range(n))
    return "".join(json.dumps(p, ensure_ascii=False) + "\n" for p in made)


def test_a_first_start_with_demo_records_and_an_orderly_end(tmp_path: Path) -> None:
    db = f"sqlite:///{tmp_path}/hub.db"
    for _ in range(2):  # the second start finds the records there
        with serving("--demo", "--db", db) as (base, process):
            found = httpx.get(f"{base}/fhir/Patient", params={"name": "nguyen", "_count": "100"}).json()
            names = [e["resource"]["name"][0]["text"] for e in found["entry"]]
            assert names
            assert all("Nguyễn" in n for n in names)
            assert httpx.get(f"{base}/fhir/Patient?_summary=count").json()["total"] == 60
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
    assert "all consistent" in run("check", "--db", db)


def test_load_export_and_load_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "Patient.ndjson").write_text(patients(250))
    first, second = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db"
    assert "loaded 250 resources" in run("load", str(tmp_path / "in"), "--db", first)
    assert "loaded 0 resources" in run("load", str(tmp_path / "in"), HEALTH_HUB_DB=first)
    assert "250 Patient.ndjson.gz" in run("export", str(tmp_path / "out"), "--gzip", "--db", first)
    assert "loaded 250 resources" in run("load", str(tmp_path / "out"), "--db", second)
    assert "250" in run("reindex", "--db", second)
    assert "checked 250 resources: all consistent" in run("check", "--db", second)


def test_what_fails_is_listed_and_the_status_says_so(tmp_path: Path) -> None:
    path, report = tmp_path / "x.ndjson", tmp_path / "report.ndjson"
    path.write_text(patients(3) + '{"resourceType":"Patient","id":"p9","birthDate":"yesterday"}\n' + "nonsense\n")
    db = f"sqlite:///{tmp_path}/hub.db"
    said = run("load", str(path), "--db", db, expect=1)
    assert f"{path}:4: " in said
    assert "birthDate" in said
    assert "loaded 3 resources" in said
    run("load", str(path), "--db", db, "--report", str(report), expect=1)
    failures: list[dict[str, Any]] = [json.loads(line) for line in report.read_text().splitlines()]
    assert sorted(f["entry"] for f in failures) == [4, 5]
    assert failures[-1]["outcome"]["resourceType"] == "OperationOutcome"


def test_load_over_http_does_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "Patient.ndjson").write_text(patients(150))
    with serving("--db", f"sqlite:///{tmp_path}/hub.db") as (base, _):
        # The second machine knows nothing of what the first one sent; the server does.
        for state, said in (("a", "loaded 150 resources"), ("a", "skipped 150"), ("b", "loaded 150 resources")):
            assert said in run("load", str(tmp_path / "Patient.ndjson"), "--server", f"{base}/fhir", XDG_STATE_HOME=str(tmp_path / state))
        versions = {r["resource"]["meta"]["versionId"] for r in httpx.get(f"{base}/fhir/Patient?_count=200").json()["entry"]}
        assert versions == {"1"}


async def test_a_worker_that_dies_is_replaced(cluster: Cluster) -> None:
    url = await cluster.create("workers")
    with serving("--workers", "2", "--db", url) as (base, process):
        before = _children(process.pid)
        assert len(before) >= 2
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        assert await asyncio.to_thread(_answers_again, base)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in before)


def _children(pid: int) -> list[int]:
    """Worker processes: children that run Python code of ours, not multiprocessing's own resource tracker."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(c) for c in text.split() if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]


def _answers_again(base: str) -> bool:
    for _ in range(100):
        try:
            if httpx.get(f"{base}/fhir/Patient", timeout=2).status_code == 200:
                return True
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("words", [("load", "absent.ndjson"), ("export", "x", "--since", "yesterday"), ("reindex", "--type", "Nothing")])
def test_what_cannot_be_done_is_said_in_a_line(words: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run([*PROGRAM, *words, "--db", f"sqlite:///{tmp_path}/hub.db"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("health-hub: ")
    assert "Traceback" not in done.stderr


def test_db_upgrade_twice(tmp_path: Path) -> None:
    for _ in range(2):
        assert run("db", "upgrade", "--db", f"sqlite:///{tmp_path}/hub.db").startswith("schema ")
