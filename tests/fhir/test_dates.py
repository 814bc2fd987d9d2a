"""Dates as spans of time."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from health_hub.fhir.dates import ZONE, span

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICRO = timedelta(microseconds=1)


def at(*parts: int, zone: ZoneInfo | timezone = UTC) -> int:
    return (datetime(*parts, tzinfo=zone) - EPOCH) // MICRO  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("text", "low", "after"),
    [
        ("2013", at(2013, 1, 1, zone=ZONE), at(2014, 1, 1, zone=ZONE)),
        ("2013-12", at(2013, 12, 1, zone=ZONE), at(2014, 1, 1, zone=ZONE)),
        ("2016-02", at(2016, 2, 1, zone=ZONE), at(2016, 3, 1, zone=ZONE)),
        ("2016-02-29", at(2016, 2, 29, zone=ZONE), at(2016, 3, 1, zone=ZONE)),
        ("2013-01-14T10:00", at(2013, 1, 14, 10, zone=ZONE), at(2013, 1, 14, 10, 1, zone=ZONE)),
        ("2013-01-14T10:00Z", at(2013, 1, 14, 10), at(2013, 1, 14, 10, 1)),
        ("2013-01-14T10:00:00+07:00", at(2013, 1, 14, 3), at(2013, 1, 14, 3, 0, 1)),
        ("2013-01-14T10:00:00.5Z", at(2013, 1, 14, 10, 0, 0, 500000), at(2013, 1, 14, 10, 0, 0, 600000)),
        ("2013-01-14T10:00:00.239-05:00", at(2013, 1, 14, 15, 0, 0, 239000), at(2013, 1, 14, 15, 0, 0, 240000)),
        ("2013-01-14T10:00:00.1234567Z", at(2013, 1, 14, 10, 0, 0, 123456), at(2013, 1, 14, 10, 0, 0, 123457)),
        ("2016-12-31T23:59:60Z", at(2017, 1, 1), at(2017, 1, 1, 0, 0, 1)),
    ],
)
def test_span_is_the_whole_of_what_was_written(text: str, low: int, after: int) -> None:
    assert span(text) == (low, after - 1)


def test_zone_is_for_texts_without_offset_only() -> None:
    paris = ZoneInfo("Europe/Paris")
    assert span("2013-07-14", paris)[0] == at(2013, 7, 13, 22)
    # The day on which summer time starts has 23 hours.
    low, high = span("2013-03-31", paris)
    assert high + 1 - low == 23 * 3_600_000_000
    assert span("2013-07-14T10:00:00Z", paris) == span("2013-07-14T10:00:00Z")


@pytest.mark.parametrize("text", ["0001", "9999", "0001-01-01", "9999-12-31", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"])
@pytest.mark.parametrize("zone", [ZONE, ZoneInfo("America/New_York"), UTC])
def test_ends_of_the_calendar_have_spans(text: str, zone: ZoneInfo) -> None:
    low, high = span(text, zone)
    assert low <= high


@pytest.mark.parametrize(
    "text",
    [
        "", "2013-02-30", "2013-13", "2013-00", "0000", "13", "2013-1", "2013-01-14T", "2013-01-14T10", "2013-01-14T24:00:00Z", "2013\n",
        "2013-01-14T10:00:00+15:00", "2013-01-14T10:00:00 07:00", "2013-01-14 10:00:00Z", "20130114", "2013-W01", "٢٠١٣",
        "2013-01-14T10:00:61Z", "2013-01-14T10:00:00.Z", "2013-01-14T10:00:00,5Z", "2013-01-14T10:00:00z", " 2013",
    ],
)  # fmt: skip
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        span(text)


@given(st.datetimes(), st.sampled_from(["Z", "+07:00", "-05:30", "+14:00"]))
def test_a_second_lies_in_its_minute_day_month_and_year(when: datetime, offset: str) -> None:
    text = when.replace(microsecond=0).isoformat()
    second = span(text + offset)
    assert second[1] - second[0] == 999_999
    zone = datetime.fromisoformat(text + offset).tzinfo
    assert zone is not None
    for shorter in (text[:4], text[:7], text[:10]):
        low, high = span(shorter, zone)
        assert low <= second[0] <= second[1] <= high


@given(st.text(alphabet="0123456789-T:Z+. "))
def test_any_text_is_a_span_or_a_value_error(text: str) -> None:
    try:
        low, high = span(text)
    except ValueError:
        return
    assert low <= high
