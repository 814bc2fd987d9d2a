"""tmp"""
from typing import Any


async def check(authority: Any, proof: str, method: str, url: str, *, access_token: str | None = None) -> str:
    return ""
