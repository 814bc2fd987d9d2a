"""Hubs in the tests' own process take their RSA signing keys from a few that are made once: making one takes a tenth of a second.

Read back from a store such a key is not examined again by OpenSSL either, which takes 40 ms each time a hub starts.
"""

from itertools import count
from typing import Any

import pytest
from joserfc.jwk import RSAKey, import_key

from health_hub.auth import keys

KEPT = 12  # so many in a row are different: of two hubs in one test, and of a ring that rotates


class _InTurn:
    """`RSAKey` as `health_hub.auth.keys` uses it."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], RSAKey] = {}
        self._turn = count()
        self._read: dict[bytes, Any] = {}

    def generate_key(self, bits: int) -> RSAKey:
        turn = bits, next(self._turn) % KEPT
        if turn not in self._kept:
            self._kept[turn] = RSAKey.generate_key(bits)
        return self._kept[turn]

    def import_key(self, pem: bytes, kind: str) -> Any:
        if kind != "RSA":
            return import_key(pem, kind)
        if pem not in self._read:
            self._read[pem] = import_key(pem, kind)
        return self._read[pem]


def pytest_configure(config: pytest.Config) -> None:
    made: Any = _InTurn()
    keys.RSAKey = made
    keys.import_key = made.import_key
