"""Fetches what the clients of other languages need into a cache, once for each set of versions.

`python -m tests.clients.install` does it ahead of the tests; they do it themselves when it was not done.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "health-hub"
NODE_MAJOR = 20  # the least that fhir-kit-client runs on
JAVA_MAJOR = 17
SECONDS = 600


class Missing(Exception):
    """The tool, or the network to fetch its packages, is not there; the text says which."""


def node() -> Path:
    """The folder that has node_modules."""
    _tool("node", "node -p process.versions.node", NODE_MAJOR)
    if not shutil.which("npm"):
        raise Missing("node: npm is not installed")
    return _made("node", ["package.json", "package-lock.json", ".npmrc"], "npm", "ci", "--silent", "--ignore-scripts", "--no-progress")


def java() -> Path:
    """The folder that has the jars in lib/."""
    _tool("java", "javac -version", JAVA_MAJOR)
    if not shutil.which("mvn"):
        raise Missing("java: mvn is not installed")
    return _made("java", ["pom.xml"], "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib")


def smart_fetch() -> Path:
    """The folder of a Python environment with smart-fetch, apart from the tests' own: it brings a hundred packages along."""
    return _made("python", ["smart-fetch.txt"], sys.executable, "-c", _ENVIRONMENT, "smart-fetch.txt")


def ffmpeg() -> Path:
    """An ffmpeg that publishes by WHIP, which those of distributions are too old for."""
    folder = _made("ffmpeg", ["imageio-ffmpeg.txt"], sys.executable, "-c", _ENVIRONMENT, "imageio-ffmpeg.txt")
    program = next((folder / "lib" / "imageio_ffmpeg" / "binaries").glob("ffmpeg-*"), None)
    if program is None:
        raise Missing("ffmpeg: imageio-ffmpeg has none for this machine")
    program.chmod(0o755)
    return program


# Into a plain folder: a virtual environment knows its own place, and the draft this runs in is moved.
_ENVIRONMENT = """
import subprocess, sys
install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
subprocess.run([*install, "--target", "lib", "-r", sys.argv[1]], check=True)
"""


def _tool(name: str, ask: str, least: int) -> None:
    if not shutil.which(ask.split()[0]):
        raise Missing(f"{name} is not installed")
    said = subprocess.run(ask.split(), capture_output=True, text=True, check=False)
    version = (said.stdout or said.stderr).split()[-1:]
    if not version or not version[0].split(".")[0].isdigit() or int(version[0].split(".")[0]) < least:
        raise Missing(f"{name}: version {least} or newer is needed, not {' '.join(version)}")


def _made(kind: str, files: list[str], *command: str) -> Path:
    """`command` run in a folder with copies of `files`; what it made is kept under the hash of them."""
    sources = [HERE / kind / f for f in files]
    digest = hashlib.sha256(b"\0".join(s.read_bytes() for s in sources)).hexdigest()[:16]
    folder = CACHE / f"clients-{kind}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"clients-{kind}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder
        with tempfile.TemporaryDirectory(dir=CACHE) as place:
            draft = Path(place) / "draft"
            draft.mkdir()
            for s in sources:
                shutil.copy(s, draft)
            try:
                done = subprocess.run(command, cwd=draft, capture_output=True, text=True, timeout=SECONDS, check=False)
            except subprocess.TimeoutExpired:
                raise Missing(f"{kind}: {command[0]} did not get the packages within {SECONDS} s (network?)") from None
            if done.returncode:
                raise Missing(f"{kind}: {command[0]} could not get the packages (network?): {(done.stderr or done.stdout).strip()[-300:]}")
            draft.rename(folder)
    return folder


if __name__ == "__main__":
    for fetch in (node, java, smart_fetch, ffmpeg):
        try:
            fetch()
        except Missing as e:
            sys.exit(str(e))
