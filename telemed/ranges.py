"""One byte range of something whose length is known (RFC 9110 14)."""

import re

_RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})", re.IGNORECASE)


def span(asked: str, length: int, condition: str | None = None, etag: str = "") -> tuple[int, int] | None:
    """(start, stop) of a Range header; stop <= start: nothing of that is there (416).

    None: all of it is to be given, also for what is not understood, several ranges, and an If-Range (`condition`) that is not `etag`.
    """
    found = _RANGE.fullmatch(asked.replace(" ", ""))
    if not found or not any(found.groups()) or (condition is not None and condition != etag):
        return None
    first, last = found.groups()
    if not first:
        return max(0, length - int(last)) if int(last) else length, length
    if last and int(last) < int(first):
        return None
    return int(first), min(length, int(last) + 1) if last else length
