"""The tour of README.md gives what it shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

from bench.processes import Hub
from tests.test_docs_api import ROOT, _examples

DATA = Path(os.environ.get("HEALTH_HUB_DATA", ROOT.parent / "shared" / "data"))


def test_the_tour(tmp_path: Path) -> None:
    docs, text = _examples(), (ROOT / "README.md").read_text("utf-8")
    database = f"sqlite:///{tmp_path / 'hub.db'}"
    hub = Hub(database, None, "--demo", auth=True)
    program = f"HEALTH_HUB_PORT={hub.port} {sys.executable} -m health_hub.cli"
    ran = 0
    try:
        for block in re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, written = step.partition("\n")
                if "../shared/data" in command and not DATA.exists():
                    continue
                command = command.replace("127.0.0.1:8080", f"127.0.0.1:{hub.port}").replace("sqlite:///var/health-hub.db", database)
                command = command.replace(".venv/bin/health-hub", program).replace("../shared/data", str(DATA))
                command = command.replace("var/", f"{tmp_path}/")
                real = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT, timeout=300).stdout
                seconds = re.compile(r"in [\d.]+ s \([\d,]+/s\)")
                assert docs.missing(seconds.sub("", written.strip()), seconds.sub("", real.strip())) is None, f"{command}\n\n{real[:3000]}"
                ran += 1
    finally:
        hub.stop()
        hub.log.close()
    assert ran >= 6
