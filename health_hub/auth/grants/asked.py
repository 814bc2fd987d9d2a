"""What a grant is asked with, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from health_hub.auth.model import AuthError, Client


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """client: authenticated as it is registered to. form: what it sent. thumbprint: of the key of its DPoP proof, None: it sent none."""

    client: Client
    form: Mapping[str, str]
    address: str = ""
    thumbprint: str | None = None

    def needed(self, name: str) -> str:
        """A parameter. Raises AuthError where it is missing."""
        if name not in self.form:
            raise AuthError("invalid_request", f"{name} is missing")
        return self.form[name]


Answer = dict[str, Any]
