"""The three cookies of a browser and how each is set; the value is the only place where its secret is whole.

session: who is signed in. browser: made before sign-in, binds a form, a challenge or a pending sign-in to this browser.
device: this browser has signed in before, so that a stranger's wrong guesses do not lock out its owner (auth/lockout.py).
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Literal

Name = Literal["session", "browser", "device"]
DEVICE_SECONDS = 180 * 86_400
VALUE_MAX = 200  # characters; a longer one is none of ours


@dataclass(frozen=True, slots=True)
class Cookie:
    """`options()` are the arguments of Starlette's `set_cookie`. max_age: seconds; None: until the browser closes; 0: delete."""

    name: str
    value: str
    max_age: int | None
    secure: bool

    def options(self) -> dict[str, Any]:
        return {"key": self.name, "value": self.value, "max_age": self.max_age, "path": "/", "secure": self.secure, "httponly": True,
                "samesite": "lax"}  # fmt: skip


def name(which: Name, *, https: bool) -> str:
    """With `__Host-` under https: such a cookie no other host of the domain and no plain http can set (RFC 6265bis 4.1.3.2)."""
    return f"__Host-{which}" if https else which


def cookie(which: Name, value: str, *, https: bool) -> Cookie:
    """value "": the cookie that deletes it."""
    age = 0 if not value else DEVICE_SECONDS if which == "device" else None
    return Cookie(name(which, https=https), value, age, https)


def secret() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


def digest(value: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
