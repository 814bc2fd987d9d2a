"""`python -m telemed.relay.build` compiles the C of the forwarding step where a compiler is; `choose` gives it in the form there is."""

import hashlib
import logging
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final, Literal

from telemed.relay.forward import Forwarding, Owner

log = logging.getLogger(__name__)

Form = Literal["auto", "python", "compiled"]
HERE: Final = Path(__file__).parent
SOURCES: Final = (HERE / "step.c", HERE / "feedback.c", HERE / "stun.c", HERE / "seal.c")
HEADERS: Final = (HERE / "step.h", HERE / "octets.h")
# No fused multiply-add: the Python form and this one give the same figures to the last bit.
FLAGS: Final = ("-O2", "-ffp-contract=off", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-fstack-protector-strong")


class NotBuilt(Exception):
    """The library is not there, or is of another source."""


def library() -> Path:
    """Where the library of just this source is looked for: beside it, named by its digest and this platform."""
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in (*SOURCES, *HEADERS)) + " ".join(FLAGS).encode()).hexdigest()[:16]
    return HERE / f"_step-{digest}-{sysconfig.get_platform()}.so"


def build() -> Path:
    """Compile it, unless that was done. Raises FileNotFoundError without a compiler, CalledProcessError when it fails."""
    path = library()
    if path.exists():
        return path
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise FileNotFoundError("no C compiler")
    fresh = path.with_suffix(f".{os.getpid()}")
    subprocess.run([compiler, *FLAGS, "-o", str(fresh), *map(str, SOURCES), "-lm"], check=True, timeout=120)  # noqa: S603  our own sources
    fresh.replace(path)  # a relay that starts meanwhile sees all of it or nothing
    for old in HERE.glob("_step-*.so"):
        if old != path:
            old.unlink(missing_ok=True)
    return path


def built(form: str) -> bool:
    """Whether the step will be in C, as far as can be told before it is loaded."""
    return form != "python" and library().exists()


def choose(form: Form, sock: socket.socket, owner: Owner, reports: socket.socket | None = None) -> Forwarding:
    """The step on this socket, or these two (sockets.py). Raises NotBuilt when `compiled` is asked for and cannot be had."""
    if form == "python":
        return Forwarding(sock, owner, reports)
    # Only here: the Python form does without cffi's reading of step.h.
    from telemed.relay import compiled

    try:
        if not built(form):
            raise NotBuilt("it was not built")
        return compiled.Forwarding(sock, owner, compiled.load(library()), reports)
    except NotBuilt:
        if form == "compiled":
            raise
        log.info("the forwarding step is in Python: python -m telemed.relay.build makes the faster one")
        return Forwarding(sock, owner, reports)


def main() -> int:
    """0 also where there is no compiler, since nothing depends on it."""
    try:
        print(build())
    except FileNotFoundError as e:
        print(f"telemed: {e}: the forwarding step stays in Python", file=sys.stderr)
    except (subprocess.SubprocessError, OSError) as e:
        print(f"telemed: the forwarding step was not compiled and stays in Python: {e}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
