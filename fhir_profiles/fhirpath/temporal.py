"""Dates, date-times and times with partial precision: parsing, order, arithmetic, boundaries (FHIRPath N1, "Date/Time")."""

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Literal

Kind = Literal["Date", "DateTime", "Time"]

_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?"
    r"(?:(T)(?:(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d+))?)?)?)?(Z|[+-]\d\d:\d\d)?)?"
)
_TIME = re.compile(r"T?(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d+))?)?)?")

# The zone of now() and today(): the province's; a setting changes it (set_zone).
_zone: tzinfo = timezone(timedelta(hours=7))


def set_zone(zone: tzinfo) -> None:
    """The zone in which now(), today() and timeOfDay() are told."""
    global _zone
    _zone = zone


class Temporal:
    """`parts` are year, month, day, hour, minute, microseconds of the minute, as many as were given."""

    __slots__ = ("digits", "kind", "offset", "parts")

    def __init__(self, kind: Kind, parts: tuple[int, ...], offset: int | None = None, digits: int | None = None) -> None:
        self.kind = kind
        self.parts = parts
        self.offset = offset  # minutes east of UTC
        self.digits = digits  # digits of the second's fraction; None: no fraction written

    def __str__(self) -> str:
        p = self.parts
        if self.kind == "Time":
            return _clock(p, self.digits)
        text = f"{p[0]:04d}" + "".join(f"-{n:02d}" for n in p[1:3])
        if len(p) > 3:
            text += "T" + _clock(p[3:], self.digits)
        if self.offset is not None:
            hours, minutes = divmod(abs(self.offset), 60)
            text += "Z" if self.offset == 0 else f"{'-' if self.offset < 0 else '+'}{hours:02d}:{minutes:02d}"
        return text

    def __repr__(self) -> str:
        return f"@{'T' if self.kind == 'Time' else ''}{self}{'T' if self.kind == 'DateTime' and len(self.parts) <= 3 else ''}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Temporal) and self.kind == other.kind and compare(self, other) == 0

    def __hash__(self) -> int:
        return hash((self.kind, self.parts if self.offset is None or len(self.parts) < 4 else _shift(self, -self.offset)))


def _clock(parts: tuple[int, ...], digits: int | None) -> str:
    text = ":".join(f"{n:02d}" for n in parts[:2])
    if len(parts) > 2:
        seconds, micro = divmod(parts[2], 1_000_000)
        text += f":{seconds:02d}"
        if digits:
            text += "." + f"{micro:06d}".ljust(digits, "0")[:digits]
    return text


def temporal(text: str, kind: Kind | None = None, *, literal: bool = False) -> Temporal | None:
    """The value `text` writes; None if it is no date, date-time or time, or an impossible one."""
    if literal:
        kind = "Time" if text[:1] == "T" else "DateTime" if "T" in text else "Date"
    if kind == "Time":
        m = _TIME.fullmatch(text)
        if m is None:
            return None
        clock = _clock_parts(m[1], m[2], m[3], m[4])
        return None if clock is None else Temporal("Time", clock, None, _digits(m[4]))
    m = _DATE.fullmatch(text)
    if m is None or (kind == "Date" and m[4]):
        return None
    year, month, day = m[1], m[2], m[3]
    parts: tuple[int, ...] = (int(year),)
    if parts[0] == 0:
        return None
    if month:
        parts += (int(month),)
        if not 1 <= parts[1] <= 12:
            return None
    if day:
        parts += (int(day),)
        if not 1 <= parts[2] <= monthrange(parts[0], parts[1])[1]:
            return None
    if m[5]:
        if not day:
            return None
        found = _clock_parts(m[5], m[6], m[7], m[8])
        if found is None:
            return None
        parts += found
    offset = None
    if m[9]:
        if not m[5]:
            return None
        offset = 0 if m[9] == "Z" else int(m[9][:3]) * 60 + (int(m[9][4:]) if m[9][0] == "+" else -int(m[9][4:]))
        if abs(offset) > 14 * 60:
            return None
    return Temporal(kind or ("DateTime" if m[4] else "Date"), parts, offset, _digits(m[8]))


def _digits(fraction: str | None) -> int | None:
    return len(fraction) if fraction else None


def _clock_parts(hour: str, minute: str | None, second: str | None, fraction: str | None) -> tuple[int, ...] | None:
    parts: tuple[int, ...] = (int(hour),)
    if minute:
        parts += (int(minute),)
    if second:
        parts += (int(second) * 1_000_000 + int((fraction or "").ljust(6, "0")[:6]),)
    # A leap second is written 60 (R4 datatypes, instant).
    if parts[0] > 23 or (minute and parts[1] > 59) or (second and parts[2] >= 61_000_000):
        return None
    return parts


def _shift(value: Temporal, minutes: int) -> tuple[int, ...]:
    p = value.parts + (0,) * (6 - len(value.parts))
    try:
        moved = datetime(p[0], p[1], p[2], p[3], p[4]) + timedelta(minutes=minutes)
    except OverflowError:
        return value.parts
    return (moved.year, moved.month, moved.day, moved.hour, moved.minute, p[5])[: len(value.parts)]


def compare(a: Temporal, b: Temporal) -> int | None:
    """-1, 0 or 1; None where the coarser one's precision does not decide, or a time meets a date."""
    if (a.kind == "Time") != (b.kind == "Time"):
        return None
    left, right = a.parts, b.parts
    if a.offset != b.offset and len(left) > 3 and len(right) > 3:
        if a.offset is None or b.offset is None:
            return _uncertain(a, b)
        left, right = _shift(a, -a.offset), _shift(b, -b.offset)
    return _ordered(left, right)


def _uncertain(a: Temporal, b: Temporal) -> int | None:
    """One has no offset: certain only where it is the same in every zone there is."""
    found = set()
    for offset in (-720, 840):
        left = _shift(a, -(offset if a.offset is None else a.offset))
        right = _shift(b, -(offset if b.offset is None else b.offset))
        found.add(_ordered(left, right))
    return found.pop() if len(found) == 1 else None


def _ordered(left: tuple[int, ...], right: tuple[int, ...]) -> int | None:
    for x, y in zip(left, right, strict=False):
        if x != y:
            return -1 if x < y else 1
    return 0 if len(left) == len(right) else None


_UNITS = ("year", "month", "day", "hour", "minute", "second")
_SECONDS = {"week": 604800, "day": 86400, "hour": 3600, "minute": 60, "second": 1}


def add(value: Temporal, amount: int, unit: str, micro: int = 0) -> Temporal | None:
    """`value` moved by whole calendar `unit`s (`micro` more for parts of a second); None outside years 1 to 9999."""
    p = value.parts
    if value.kind == "Time":
        return _add_time(value, amount, unit, micro)
    # A quantity finer than the value counts in the value's own unit (N1: `@2014 + 24 months` is `@2016`).
    if len(p) == 1 and unit != "year":
        months = amount if unit == "month" else int(amount * _SECONDS[unit] / 86400 / 365 * 12)
        amount, unit = int(months / 12), "year"
    elif len(p) == 2 and unit not in ("year", "month"):
        amount, unit = int(amount * _SECONDS[unit] / 86400 / 30), "month"
    elif 3 <= len(p) < 6 and unit in _SECONDS and (step := _SECONDS[_UNITS[len(p) - 1]]) > _SECONDS[unit]:
        seconds = abs(amount) * _SECONDS[unit] + abs(micro) // 1_000_000
        amount, unit, micro = (seconds // step) * (1 if amount >= 0 else -1), _UNITS[len(p) - 1], 0
    try:
        if unit in ("year", "month"):
            months = p[0] * 12 + (p[1] if len(p) > 1 else 1) - 1 + amount * (12 if unit == "year" else 1)
            year, month = months // 12, months % 12 + 1
            if not 1 <= year <= 9999:
                return None
            day = min(p[2], monthrange(year, month)[1]) if len(p) > 2 else 1
            moved = (year, month, day, *p[3:])[: len(p)]
        else:
            full = p + (0,) * (6 - len(p))
            at = datetime(full[0], full[1], full[2], full[3], full[4]) + timedelta(
                seconds=amount * _SECONDS[unit], microseconds=full[5] + micro
            )
            moved = (at.year, at.month, at.day, at.hour, at.minute, at.second * 1_000_000 + at.microsecond)[: len(p)]
    except OverflowError:
        return None
    return Temporal(value.kind, moved, value.offset, value.digits if not micro else max(value.digits or 0, 3))


def _add_time(value: Temporal, amount: int, unit: str, micro: int) -> Temporal | None:
    if unit not in ("hour", "minute", "second"):
        return None
    p = value.parts + (0,) * (3 - len(value.parts))
    day = 86_400_000_000
    total = (p[0] * 3_600_000_000 + p[1] * 60_000_000 + p[2] + amount * _SECONDS[unit] * 1_000_000 + micro) % day
    moved = (total // 3_600_000_000, total // 60_000_000 % 60, total % 60_000_000)[: len(value.parts)]
    return Temporal("Time", moved, None, value.digits if not micro else max(value.digits or 0, 3))


# Digits of a date, date-time or time as precision() counts them (N1 STU: year 4 ... milliseconds 17; time 9).
_DATE_DIGITS = (4, 6, 8, 10, 12, 14)
_TIME_DIGITS = (2, 4, 6)


def precision(value: Temporal) -> int:
    digits = (_TIME_DIGITS if value.kind == "Time" else _DATE_DIGITS)[len(value.parts) - 1]
    return digits + 3 if value.digits else digits


def boundary(value: Temporal, digits: int | None, *, high: bool) -> Temporal | None:
    """The first or last moment `value` may mean, to `digits` digits; None if there is no such precision."""
    time = value.kind == "Time"
    table = _TIME_DIGITS if time else _DATE_DIGITS
    fraction = table[-1] + 3
    digits = digits if digits is not None else (fraction if time or value.kind == "DateTime" else 8)
    if digits not in (*table, fraction):
        return None
    wanted = len(table) if digits == fraction else table.index(digits) + 1
    parts = value.parts
    while len(parts) < wanted:
        name = len(parts) + (3 if time else 0)
        if high:
            last = (9999, 12, monthrange(parts[0], parts[1])[1] if name == 2 else 31, 23, 59, 59_000_000)[name]
            # R4 has no hours without minutes: T08 means 08:00.
            if name == 4:
                last = 0
        else:
            last = 1 if name in (1, 2) else 0
        parts += (last,)
    if high and digits == fraction and value.digits is None:
        # A second without a fraction lasts until its .999.
        parts = (*parts[:-1], parts[-1] // 1_000_000 * 1_000_000 + 999_000)
    offset = value.offset
    if not time and wanted > 3 and offset is None:
        offset = -720 if high else 840
    kind: Kind = "Time" if time else "DateTime" if wanted > 3 else value.kind
    return Temporal(kind, parts[:wanted], offset if wanted > 3 else None, 3 if digits == fraction else None)


def now() -> datetime:
    return datetime.now(UTC).astimezone(_zone)


def from_datetime(at: datetime) -> Temporal:
    delta = at.utcoffset()
    micro = at.second * 1_000_000 + at.microsecond // 1000 * 1000
    return Temporal("DateTime", (at.year, at.month, at.day, at.hour, at.minute, micro), int(delta.total_seconds()) // 60 if delta else 0, 3)
