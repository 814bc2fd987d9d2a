"""Rooms over a restart: one file, sealed, since what people wrote in a consultation is in it."""

import logging
import os
from pathlib import Path
from typing import Any

import msgspec

from telemed.sealed import Seal

log = logging.getLogger(__name__)


class StateFile:
    """Under a key made from the relay's secret."""

    def __init__(self, path: str, secret: str) -> None:
        self._path = Path(path)
        self._seal = Seal(secret, "state")

    def save(self, state: dict[str, Any]) -> None:
        """Replaces the file in one step.

        Raises OSError.
        """
        sealed = self._seal.seal(msgspec.json.encode(state))
        beside = self._path.with_name(self._path.name + ".new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(sealed)
        beside.replace(self._path)

    def load(self) -> dict[str, Any] | None:
        """What was saved, or None: a file that cannot be read is logged, and clients' own resume tokens bring the rooms back."""
        try:
            data = self._seal.open(self._path.read_bytes())
            if data is None:
                raise ValueError("sealed with another secret, or changed")
            state = msgspec.json.decode(data)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            log.exception("%s cannot be read", self._path)
            return None
        return state if isinstance(state, dict) else None
