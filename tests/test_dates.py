"""Promises of the calendar: its arithmetic is that of the format for every number, and formulas of it are found."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdlake import calendar
from mdlake.search.dates import UNITS, ticks_of_day
from mdlake.search.formulas import Formulas, bits_of_numbers

EPOCH = datetime.date(1970, 1, 1).toordinal()
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
ROWS = 3000
RANDOM = np.random.default_rng(5)
MICROSECONDS = RANDOM.integers(1_500_000_000, 1_700_000_000, ROWS) * 1_000_000 + RANDOM.integers(0, 1_000_000, ROWS)
DAY, LATER = MICROSECONDS // UNITS[3], MICROSECONDS // UNITS[3] + RANDOM.integers(0, 30_000, ROWS)
YEAR, MONTH, DAY_OF_MONTH = calendar.year(DAY), calendar.month(DAY), calendar.day_of_month(DAY)
HOUR, MINUTE, SECOND = (
    MICROSECONDS // unit % size for unit, size in ((3_600_000_000, 24), (60_000_000, 60), (10**6, 60))
)
WRITTEN = YEAR * 10_000 + MONTH * 100 + DAY_OF_MONTH
BY_MINUTE = MICROSECONDS // 60_000_000 * 60


def days(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


@given(st.dates())
def test_dates_are_those_of_the_gregorian_calendar(date: datetime.date) -> None:
    day = days([date.toordinal() - EPOCH])
    year, month, of_month = calendar.year(day), calendar.month(day), calendar.day_of_month(day)
    assert (year[0], month[0], of_month[0]) == (date.year, date.month, date.day)
    assert calendar.days(year, month, of_month)[0] == day[0]


def wrapped(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


@given(INT64, INT64, INT64)
def test_every_number_is_a_day_and_every_three_are_a_date(year: int, month: int, day: int) -> None:
    """400 years are 4800 months and 146,097 days; the rest is modulo 2^64."""
    era, within = divmod(day, 146_097)
    date = datetime.date.fromordinal(EPOCH + within)
    found = calendar.year(days([day]))[0], calendar.month(days([day]))[0], calendar.day_of_month(days([day]))[0]
    assert found == (date.year + 400 * era, date.month, date.day)
    era, within = divmod(wrapped(12 * (year - 1970) + month - 1), 4800)
    first = datetime.date(1970 + within // 12, within % 12 + 1, 1).toordinal() - EPOCH
    expected = wrapped(era * 146_097 + first + day - 1)
    assert calendar.days(days([year]), days([month]), days([day]))[0] == expected


@pytest.mark.parametrize("ticks", UNITS)
def test_the_unit_of_a_time_is_told_by_its_numbers(ticks: int) -> None:
    times = MICROSECONDS * (ticks // UNITS[3]) if ticks > UNITS[3] else MICROSECONDS // (UNITS[3] // ticks)
    assert ticks_of_day(times) == ticks
    assert ticks_of_day(np.where(np.arange(ROWS) % 20 == 0, 0, times)) == ticks  # some are null
    assert ticks_of_day(times // ticks % 500) is None


FOUND = {
    "year": (YEAR, [MICROSECONDS]),
    "month": (MONTH, [DAY]),
    "day": (DAY_OF_MONTH, [MICROSECONDS]),
    "quarter": ((MONTH + 2) // 3, [DAY]),
    "weekday": ((DAY + 3) % 7, [MICROSECONDS]),
    "day of year": (DAY - calendar.days(YEAR, 1 + 0 * YEAR, 0 * YEAR), [DAY]),
    "hour": (HOUR, [MICROSECONDS // 1000]),
    "minute": (MINUTE, [MICROSECONDS]),
    "second": (SECOND, [MICROSECONDS]),
    "HHMM": (HOUR * 100 + MINUTE, [MICROSECONDS]),
    "YYYYMMDD": (WRITTEN, [MICROSECONDS]),
    "YYYYMMDD of parts": (WRITTEN, [YEAR, MONTH, DAY_OF_MONTH]),
    "YYYYMM": (YEAR * 100 + MONTH, [DAY]),
    "month of YYYYMMDD": (MONTH, [WRITTEN]),
    "date of a time": (DAY, [MICROSECONDS]),
    "date of parts": (DAY, [YEAR, MONTH, DAY_OF_MONTH]),
    "date of YYYYMMDD": (DAY, [WRITTEN]),
    "time of parts": (BY_MINUTE, [YEAR, MONTH, DAY_OF_MONTH, HOUR, MINUTE]),
    "time of a date and parts": (BY_MINUTE + SECOND, [DAY, HOUR, MINUTE, SECOND]),
    "time of a date and HHMM": (BY_MINUTE * 1000, [DAY, HOUR * 100 + MINUTE]),
    "time of a date and a time of day": (MICROSECONDS, [DAY, MICROSECONDS % UNITS[3]]),
    "seconds of microseconds": (MICROSECONDS // 10**6, [MICROSECONDS]),
    "the month's first": (calendar.days(YEAR, MONTH, 1 + 0 * YEAR), [DAY]),
    "days between": (LATER - DAY, [LATER, MICROSECONDS]),
    "full years between": ((LATER - DAY) * 10_000 // 3_652_425, [LATER, MICROSECONDS]),
}


@pytest.mark.parametrize("case", FOUND)
def test_the_formula_of_the_calendar_that_made_a_column_is_found(case: str) -> None:
    target, others = FOUND[case]
    columns = dict(enumerate(others))
    found = Formulas({**columns, 99: target}).of(99, bits_of_numbers(target), tuple(columns))
    assert found and found[0].bits < 0.02 * bits_of_numbers(target)
