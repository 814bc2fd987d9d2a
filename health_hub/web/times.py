"""Times and durations as people read them, in the hub's zone and with it."""

from datetime import datetime
from zoneinfo import ZoneInfo

from health_hub.web.texts import Language, text


def local(seconds: float, zone: str) -> datetime:
    """seconds: since 1970 UTC."""
    return datetime.fromtimestamp(seconds, ZoneInfo(zone))


def clock(at: datetime) -> str:
    return f"{at:%H:%M}"


def date(at: datetime, lang: Language) -> str:
    return f"{at:%d/%m/%Y}" if lang == "vi" else f"{at.day} {text(f'month.{at.month}', 'en')[:3]} {at.year}"


def moment(at: datetime, lang: Language) -> str:
    """`14:05, 26/11/2026 (GMT+7)`."""
    return f"{clock(at)}, {date(at, lang)} ({offset(at)})"


def day(at: datetime, now: datetime, lang: Language) -> str:
    """`Hôm nay`, `Thứ Năm, 26/11/2026`."""
    if at.date() == now.date():
        return text("today", lang)
    if (now.date() - at.date()).days == 1:
        return text("yesterday", lang)
    return text(
        "date.long", lang, weekday=text(f"weekday.{at.weekday()}", lang), day=f"{at:%d}" if lang == "vi" else at.day, month=f"{at:%m}",
        month_name=text(f"month.{at.month}", lang), year=at.year,
    )  # fmt: skip


def offset(at: datetime) -> str:
    """`GMT+7`."""
    minutes = int((at.utcoffset() or at.replace(tzinfo=None) - at.replace(tzinfo=None)).total_seconds()) // 60
    hours, rest = divmod(abs(minutes), 60)
    return f"GMT{'-' if minutes < 0 else '+'}{hours}{f':{rest:02}' if rest else ''}"


def fhir_date(value: str, lang: Language) -> str:
    """A FHIR date of any precision: `1990`, `05/1990`, `14/05/1990`."""
    parts = value[:10].split("-")
    if not all(p.isdigit() for p in parts) or len(parts) > 3:
        return value
    if lang == "vi" or len(parts) == 1:
        return "/".join(reversed(parts))
    month = text(f"month.{int(parts[1])}", "en")[:3] if 1 <= int(parts[1]) <= 12 else parts[1]
    return " ".join((*(str(int(p)) for p in parts[2:]), month, parts[0]))


def duration(seconds: int, lang: Language) -> str:
    """Rounded up to what one would say: `45 giây`, `15 phút`, `2 giờ`."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1)):
        n = -(-seconds // size)
        if seconds >= size or size == 1:
            return text(f"{unit}.one", lang) if n == 1 else text(unit, lang, n=max(n, 0))
    raise AssertionError
