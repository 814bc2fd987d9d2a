"""tmp"""
from typing import Any


def smart(authority: Any) -> dict[str, Any]:
    return {}
def capability_security(a: Any) -> dict[str, Any]:
    return {}
