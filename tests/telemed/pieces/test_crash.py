"""kill -9 in the middle of uploads, again and again: what was acknowledged is there, and the rest is sent on from there."""

import hashlib
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from telemed.pieces.routes import CONTENT, PATH

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
import sys
from contextlib import asynccontextmanager
from pathlib import Path
import uvicorn
from starlette.applications import Starlette
from telemed.pieces.routes import routes
from telemed.pieces.store import Limits, Store
from tests.telemed.pieces.test_tus import KEY, PEOPLE
folder = Path(sys.argv[1])
def complete(message):
    with (folder / "heard").open("a") as file:
        file.write(message.id + "\\n")
store = Store(folder / "messages", KEY, complete, lambda claims, message: True, Limits(free=0))
@asynccontextmanager
async def lifespan(app):
    await store.open()
    yield
    await store.close()
app = Starlette(routes=routes(store, lambda token, client, sending: PEOPLE.get(token)), lifespan=lifespan)
uvicorn.run(app, fd=int(sys.argv[2]), log_level="error")
"""

TOKEN = {"Authorization": "Bearer an", "Tus-Resumable": "1.0.0"}


def test_acknowledged_bytes_survive(tmp_path: Path) -> None:
    rnd = random.Random(11)
    data = rnd.randbytes(6 << 20)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.set_inheritable(True)
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"

        def start() -> subprocess.Popen[bytes]:
            command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(listening.fileno())]
            return subprocess.Popen(command, cwd=ROOT, pass_fds=[listening.fileno()])

        process = start()
        try:
            with httpx.Client(base_url=base, timeout=20, headers=TOKEN) as client:
                path = client.post(PATH, headers={"Upload-Length": str(len(data))}).headers["location"]
                acknowledged, kills = 0, 0
                while acknowledged < len(data):

                    def body(start: int, kill_at: int | None, victim: subprocess.Popen[bytes]):  # type: ignore[no-untyped-def]
                        end = min(start + (2 << 20), len(data))
                        for at in range(start, end, 65_536):
                            if kill_at is not None and at - start >= kill_at:
                                time.sleep(0.05)
                                victim.send_signal(signal.SIGKILL)
                                victim.wait()
                                return
                            yield data[at : min(at + 65_536, end)]

                    kill = rnd.randrange(65_536, 2 << 20) if kills < 3 else None
                    headers = {"Upload-Offset": str(acknowledged), "Content-Type": CONTENT}
                    try:
                        answer = client.patch(path, content=body(acknowledged, kill, process), headers=headers)
                        assert answer.status_code == 204
                        acknowledged = int(answer.headers["upload-offset"])
                    except httpx.TransportError:
                        kills += 1
                        process.wait()
                        process = start()
                        offset = int(client.head(path).headers["upload-offset"])
                        assert offset >= acknowledged
                        acknowledged = offset
                assert kills == 3
                assert hashlib.sha256(client.get(path).content).digest() == hashlib.sha256(data).digest()
                assert (tmp_path / "heard").read_text().split() == [path.rsplit("/", 1)[1]]
        finally:
            process.kill()
            process.wait()
