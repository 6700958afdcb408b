"""The Gregorian calendar, for all years: days since 1970-01-01 and the months that they lie in.

Everything follows from 400 years being 4800 months and 146,097 days. Arithmetic is that of 64-bit integers and wraps,
so every number is a day and every three numbers are a date: month 13 is the first of the next year, day 0 the day
before the first.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
ERA_MONTHS, ERA_DAYS = 4800, 146_097
_FIRST_YEAR = 1970


def year(day: Numbers) -> Numbers:
    return _FIRST_YEAR + _months(day) // 12


def month(day: Numbers) -> Numbers:
    """1 to 12."""
    return 1 + _months(day) % 12


def day_of_month(day: Numbers) -> Numbers:
    """1 to 31."""
    return 1 + day - _first_day(_months(day))


def days(year_: Numbers, month_: Numbers, day: Numbers) -> Numbers:
    """The day of this date."""
    return _first_day(12 * (year_ - _FIRST_YEAR) + month_ - 1) + day - 1


def _months(day: Numbers) -> Numbers:
    """Months since January 1970."""
    return day // ERA_DAYS * ERA_MONTHS + _era()[0][day % ERA_DAYS]


def _first_day(months: Numbers) -> Numbers:
    return months // ERA_MONTHS * ERA_DAYS + _era()[1][months % ERA_MONTHS]


@cache
def _era() -> tuple[NDArray[np.int16], Numbers]:
    """Of the 400 years from 1970 on: the month of each day, the first day of each month."""
    day = np.arange(ERA_DAYS).astype("M8[D]").astype("M8[M]").astype(np.int16)
    return day, np.arange(ERA_MONTHS).astype("M8[M]").astype("M8[D]").astype(np.int64)
