"""Hubs in the tests' own process take their RSA signing keys from a few that are made once: making one takes a tenth of a second."""

from itertools import count
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from health_hub.auth import keys

KEPT = 12  # so many in a row are different: of two hubs in one test, and of a ring that rotates


class _InTurn:
    """`RSAKey` as `health_hub.auth.keys` uses it."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], RSAKey] = {}
        self._turn = count()

    def generate_key(self, bits: int) -> RSAKey:
        turn = bits, next(self._turn) % KEPT
        if turn not in self._kept:
            self._kept[turn] = RSAKey.generate_key(bits)
        return self._kept[turn]


def pytest_configure(config: pytest.Config) -> None:
    made: Any = _InTurn()
    keys.RSAKey = made
