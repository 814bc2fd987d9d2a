"""coturn with the options that docker-compose.yml gives it, on loopback."""

import base64
import hashlib
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.processes import free_port
from tests.certificates import pem, self_signed

PROGRAM = shutil.which("turnserver")
COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
WHY = "coturn is not installed"
SECRET = secrets.token_hex(24)


def certificate(folder: Path) -> str:
    """A key and a self-signed certificate for 127.0.0.1 in `folder`; the hash of its public key, as Chromium lists those it is to trust."""
    key, made = self_signed(x509.IPAddress(IPv4Address("127.0.0.1")))
    (folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(pem(key))
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(public).digest()).decode()


def deployed(port: int) -> list[str]:
    """The options in docker-compose.yml, for a relay at 127.0.0.1."""
    service = COMPOSE.read_text("utf-8").partition("\n  coturn:\n")[2].partition("\n    restart:")[0]
    options = re.findall(r"^ +- (--\S+)", service, re.MULTILINE)
    values = {"TURN_SECRET": SECRET, "HEALTH_HUB_RELAY_HOST": "127.0.0.1", "TURN_HOST": "turn.example.vn"}
    filled = [re.sub(r"\$\{(\w+)[^}]*\}", lambda name: values[name[1]], option) for option in options]
    assert "--listening-port=3478" in filled
    return [f"--listening-port={port}" if option == "--listening-port=3478" else option for option in filled]


@contextmanager
def coturn(folder: Path, *, tls: bool = False) -> Iterator[int]:
    """Its port; with `tls` the one where it speaks TLS by the `certificate` in the folder, as docker-compose.yml says how to."""
    port, log = free_port(), folder / "coturn.log"
    secure = free_port() if tls else 0
    encrypted = [f"--cert={folder / 'cert.pem'}", f"--pkey={folder / 'key.pem'}", f"--tls-listening-port={secure}", "--no-dtls"]
    command = [
        str(PROGRAM), "-n", *deployed(port),
        # What only a test needs.
        "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--allow-loopback-peers",
        *(encrypted if tls else ("--no-tls", "--no-dtls")),
        f"--log-file={log}", "--simple-log", f"--pidfile={folder / 'coturn.pid'}", f"--userdb={folder / 'turndb'}",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", secure or port), 1).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text() if log.exists() else "coturn ended"
                assert time.monotonic() < end, "coturn does not listen"
                time.sleep(0.1)
        yield secure or port
    finally:
        process.terminate()
        process.wait(10)
