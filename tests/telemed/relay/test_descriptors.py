"""The relay takes as many descriptors as its user may have, and keeps none of a start that failed."""

import gc
import socket
import subprocess
import sys

import pytest

from telemed.relay.relay import Relay

PROBE = (
    "import resource; from telemed.__main__ import _descriptors;"
    "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1500)); _descriptors(); print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
)


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1500", "1500"]


async def test_a_port_that_tcp_does_not_have_free_is_an_error_and_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        relay = Relay(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            await relay.start()
        del relay
        gc.collect()  # a socket that is left open is a warning here, and warnings are errors
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(taken.getsockname())
