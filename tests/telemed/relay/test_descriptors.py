"""The relay takes as many descriptors as its user may have, and no more."""

import subprocess
import sys

PROBE = (
    "import resource; from telemed.__main__ import _descriptors;"
    "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1500)); _descriptors(); print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
)


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1500", "1500"]
