"""tmp"""
from typing import Any


def smart(authority: Any) -> dict[str, Any]:
    return {}
