"""FHIR dates of any precision as the span of time they name, in microseconds since 1970 UTC (R4 datatypes.html#dateTime)."""

import re
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

# What a date without an offset means: the wall clock of the province. The setting may say another zone.
ZONE: tzinfo = ZoneInfo("Asia/Ho_Chi_Minh")

SECOND = 1_000_000
DAY = 86_400 * SECOND
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
# date, dateTime, instant, and what a search may write besides: minutes without seconds, a time without offset.
_TEXT = re.compile(
    r"(?!0000)[0-9]{4}(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12][0-9]|3[01])"
    r"(?:T(?:[01][0-9]|2[0-3]):[0-5][0-9](?::(?:[0-5][0-9]|60)(?:\.[0-9]+)?)?(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))?)?)?)?",
    re.ASCII,
)


@lru_cache(maxsize=8192)
def span(text: str, zone: tzinfo = ZONE) -> tuple[int, int]:
    """First and last microsecond that `text` names; `zone` is for a text without offset.

    `2013` is the whole year, `2013-01-14T10:00:00.5Z` a tenth of a second. ValueError for what is no FHIR date or no real day.
    """
    if not _TEXT.fullmatch(text):
        raise ValueError(f"'{text[:64]}' is not a FHIR date: YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with an offset")
    if len(text) <= 10:
        return _days(text, zone)
    leap = text[17:19] == "60"  # a leap second is the second after :59
    try:
        moment = datetime.fromisoformat(text[:17] + "59" + text[19:] if leap else text)
    except ValueError as e:
        raise ValueError(f"'{text[:64]}' is no real date: {e}") from None
    low = _microseconds(moment, zone) + (SECOND if leap else 0)
    if text[16:17] != ":":
        return low, low + 60 * SECOND - 1
    if text[19:20] != ".":
        return low, low + SECOND - 1
    digits = len(text[20:].rstrip("Z")) if text[-1] == "Z" else len(re.split(r"[+-]", text[20:], maxsplit=1)[0])
    return low, low + 10 ** max(6 - digits, 0) - 1


def _microseconds(moment: datetime, zone: tzinfo) -> int:
    if moment.tzinfo is None:
        # By whole numbers, because year 1 or 9999 less an offset is no datetime.
        offset = zone.utcoffset(moment.replace(tzinfo=zone))
        since = moment.replace(tzinfo=UTC) - _EPOCH
        return (since.days * DAY + since.seconds * SECOND + since.microseconds) - (int(offset.total_seconds()) * SECOND if offset else 0)
    since = moment - _EPOCH
    return since.days * DAY + since.seconds * SECOND + since.microseconds


def _days(text: str, zone: tzinfo) -> tuple[int, int]:
    year = int(text[:4])
    month = int(text[5:7]) if len(text) > 4 else 1
    day = int(text[8:10]) if len(text) > 7 else 1
    try:
        first = date(year, month, day).toordinal()
    except ValueError as e:
        raise ValueError(f"'{text}' is no real date: {e}") from None
    if len(text) == 10:
        after = first + 1
    elif len(text) == 7 and month < 12:
        after = date(year, month + 1, 1).toordinal()
    elif year < 9999:
        after = date(year + 1, 1, 1).toordinal()
    else:
        after = date(9999, 12, 31).toordinal() + 1
    return _midnight(first, zone), _midnight(after, zone) - 1


def _midnight(ordinal: int, zone: tzinfo) -> int:
    # The midnight after the last day of the calendar takes the offset of that day.
    at = datetime.fromordinal(min(ordinal, date.max.toordinal())).replace(tzinfo=zone)
    offset = zone.utcoffset(at)
    return (ordinal - _EPOCH_DAY) * DAY - (int(offset.total_seconds()) * SECOND if offset else 0)
