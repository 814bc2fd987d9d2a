"""Ids that come from outside: only what one of ours could be is looked up (PostgreSQL refuses a NUL, UTF-8 half a surrogate)."""

import re

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def possible(id: str) -> bool:
    """Whether it could be the id of a record that has a random id or a digest for one."""
    return _ID.fullmatch(id) is not None
