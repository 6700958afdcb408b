"""Formulas of the calendar: parts of dates, dates from parts, times in one unit as times in another.

Which columns may be dates, years, months or hours is told by their numbers alone: a time counts ticks since 1970, and
of the usual units only one puts most of a column between 1900 and 2100. All of the grammar is given as families: a
form, and the columns that may stand in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, permutations, product

import numpy as np

from mdlake import calendar
from mdlake.expressions import Expression, Numbers

UNITS = 1, 86_400, 86_400_000, 86_400_000_000, 86_400_000_000_000
"""Ticks a day: days, seconds, milliseconds, microseconds, nanoseconds."""
_EARLIEST, _LATEST = -25_567, 47_482
_FAR = 1000
"""Days that most are away from 1970, or they would not be told from small numbers."""
_NEARLY = 0.9
_DATES, _PARTS = 6, 3
"""So many columns at most are taken for dates; for each of their parts."""
Family = tuple[str, Expression, Sequence[tuple[int, ...]]]
_Part = tuple[str, float, float, Expression]
"""How it explains values, how far apart nearly all of these have to be at least, and at most, and the part."""
_x, _y = Expression.parent(0), Expression.parent(1)


@dataclass(frozen=True)
class _Roles:
    """What a table's columns may be: of dates the ticks of a day, of times of day too."""

    dates: Mapping[int, int]
    times: Mapping[int, int]
    written: Sequence[int]
    years: Sequence[int]
    months: Sequence[int]
    days: Sequence[int]
    hours: Sequence[int]
    minutes: Sequence[int]
    clocks: Sequence[int]

    def among(self, others: Sequence[int]) -> _Roles:
        """Of some columns only, and of those the likeliest."""
        allowed = set(others)
        dates = sorted(allowed.intersection(self.dates), key=lambda c: (-self.dates[c], c))[:_DATES]
        times = sorted(allowed.intersection(self.times))[:_PARTS]

        def few(columns: Sequence[int]) -> Sequence[int]:
            return [column for column in columns if column in allowed][:_PARTS]

        return _Roles(
            {column: self.dates[column] for column in dates},
            {column: self.times[column] for column in times},
            few(self.written),
            few(self.years),
            few(self.months),
            few(self.days),
            few(self.hours),
            few(self.minutes),
            few(self.clocks),
        )


class Dates:
    """What is searched in: int64 numbers of a few rows, by column; 0 may stand for a null."""

    def __init__(self, numbers: Mapping[int, Numbers], clocks: Sequence[int]) -> None:
        self._numbers = numbers
        dates = {column: ticks for column, found in numbers.items() if (ticks := ticks_of_day(found))}
        times = {column: ticks for column, found in numbers.items() if (ticks := _ticks_of_time(found))}
        of_day = [column for column in _up_to(numbers, 59, 2400) if column in set(clocks)]
        years = [column for column, found in numbers.items() if _mostly((found >= 1600) & (found <= 2400), found)]
        written = [column for column, found in numbers.items() if _is_written(found)]
        months, days, hours, minutes = (_up_to(numbers, *most) for most in ((1, 12), (12, 31), (12, 24), (31, 59)))
        self._roles = _Roles(dates, times, written, years, months, days, hours, minutes, of_day)

    def families(self, target: int, others: Sequence[int]) -> Iterator[Family]:
        """Those that a column may be of."""
        roles, values = self._roles.among(others), self._numbers[target]
        if ticks := self._roles.dates.get(target):
            yield from _as_date(ticks, roles, values // ticks)
        if target in self._roles.written:
            yield from _as_written(roles)
        low, high = np.percentile(values, [5, 95])
        for ticks, columns in _by_unit(roles.dates):
            day = in_days(_x, ticks)
            ones = [(column,) for column in columns]
            yield from _fitting((*_parts_of_day(day), *_parts_of_time(_x, ticks)), high - low, ones)
            for other_ticks, other_columns in _by_unit(roles.dates):
                pairs = [pair for pair in product(columns, other_columns) if pair[0] != pair[1]]
                yield from _fitting(_between(day, in_days(_y, other_ticks)), high - low, pairs)
        yield from _fitting(_parts_of_written(_x), high - low, [(column,) for column in roles.written])


def _fitting(parts: Iterable[_Part], width: float, columns: Sequence[tuple[int, ...]]) -> Iterator[Family]:
    """Those that may be of values so far apart."""
    for how, least, most, form in parts:
        if least <= width <= most and columns:
            yield how, form, columns


def in_days(x: Expression, ticks: int) -> Expression:
    return x("//", ticks) if ticks > 1 else x


def parts_of(x: Expression, ticks: int) -> list[Expression]:
    """Year, month, day; of a time hour, minute and second too."""
    day = in_days(x, ticks)
    clock = [_units(x, ticks, unit)("%", size) for unit, size in ((24, 24), (1440, 60), (86_400, 60)) if ticks > 1]
    return [day("year"), day("month"), day("day"), *clock]


def ticks_of_day(values: Numbers) -> int | None:
    """How many units a day has if these are dates or times since 1970; None if they are not."""
    for ticks in UNITS[::-1]:
        days = values // ticks
        near = (days >= _EARLIEST) & (days <= _LATEST)
        if _mostly(near, values) and np.abs(days[near]).mean() >= _FAR:
            return ticks
    return None


def _ticks_of_time(values: Numbers) -> int | None:
    """The same if these are times since midnight."""
    low, high = int(values.min()), int(values.max())
    fitting = (ticks for ticks in UNITS[1:] if low >= 0 and ticks // 24 < high < ticks)
    return next(fitting, None)


def _mostly(holds: np.ndarray, values: Numbers) -> bool:
    """Whether it holds for nearly all that are not 0, and there are such."""
    there = values != 0
    return bool(there.any()) and float(holds[there].mean()) >= _NEARLY


def _is_written(values: Numbers) -> bool:
    """Whether these may be dates written YYYYMMDD."""
    year, month, day = values // 10_000, values // 100 % 100, values % 100
    proper = (year >= 1600) & (year <= 2400) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    return _mostly(proper, values)


def _up_to(numbers: Mapping[int, Numbers], least: int, most: int) -> list[int]:
    """Columns of numbers from 0 to more than `least` and at most `most`, those first that come nearest to that."""
    highest = {column: int(found.max()) for column, found in numbers.items() if int(found.min()) >= 0}
    return sorted((c for c, high in highest.items() if least < high <= most), key=lambda c: (-highest[c], c))


def _by_unit(dates: Mapping[int, int]) -> list[tuple[int, list[int]]]:
    return [(ticks, list(columns)) for ticks, columns in groupby(dates, key=lambda column: dates[column])]


def _units(x: Expression, ticks: int, unit: int) -> Expression:
    """Units of time, so many a day, since 1970."""
    return in_days(x, ticks // unit)


def _written(day: Expression) -> Expression:
    return day("year")("*", 10_000)("+", day("month")("*", 100))("+", day("day"))


def _unwritten(x: Expression) -> Expression:
    return x("//", 10_000)("days", x("//", 100)("%", 100), x("%", 100))


def _parts_of_day(day: Expression) -> Iterator[_Part]:
    year, month = day("year"), day("month")
    yield "difference", 1, 200, year
    yield "difference", 1, 200, Expression.constant(0)("-", year)
    yield "difference", 3, 12, month
    yield "difference", 1, 4, month("+", 2)("//", 3)
    yield "difference", 7, 31, day("day")
    yield "residue", 2, 6, day
    yield "difference", 13, 53, day("+", 3)("//", 7)("-", year("days", 1, 4)("+", 3)("//", 7))
    yield "difference", 90, 366, day("-", year("days", 1, 0))
    yield "difference", 90, _LATEST, day
    yield "difference", 12, 2400, year("*", 12)("+", month)
    yield "difference", 12, 20_000, year("*", 100)("+", month)
    yield "difference", 300, 2_000_000, _written(day)


def _parts_of_time(x: Expression, ticks: int) -> Iterator[_Part]:
    if ticks == 1:
        return
    yield "difference", 6, 24, _units(x, ticks, 24)("%", 24)
    yield "difference", 15, 60, _units(x, ticks, 1440)("%", 60)
    yield "difference", 15, 60, _units(x, ticks, 86_400)("%", 60)
    yield "clock", 500, 2400, _units(x, ticks, 1440)
    yield "difference", 300, 1440, _units(x, ticks, 1440)("%", 1440)
    yield from (
        ("difference", unit // 4, unit, _units(x, ticks, unit)("%", unit)) for unit in UNITS[1:] if unit <= ticks
    )


def _parts_of_written(x: Expression) -> Iterator[_Part]:
    yield "difference", 1, 200, x("//", 10_000)
    yield "difference", 3, 12, x("//", 100)("%", 100)


def _between(one: Expression, other: Expression) -> Iterator[_Part]:
    """Days, years and months between two dates; full years, as ages are counted."""
    yield "difference", 1, _LATEST, one("-", other)
    yield "difference", 1, 200, one("year")("-", other("year"))
    months = (day("year")("*", 12)("+", day("month")) for day in (one, other))
    yield "difference", 3, 2400, next(months)("-", next(months))
    yield "difference", 1, 200, _written(one)("-", _written(other))("//", 10_000)


def _as_written(roles: _Roles) -> Iterator[Family]:
    whole = _x("*", 100)("+", _y)("*", 100)("+", Expression.parent(2))
    triples = [columns for columns in product(roles.years, roles.months, roles.days) if len(set(columns)) == 3]
    if triples:
        yield "difference", whole, triples


def _as_date(ticks: int, roles: _Roles, days: Numbers) -> Iterator[Family]:
    """A day from columns, and the time of day, if there is one, from others."""
    for unit, columns in _by_unit(roles.dates):
        ones = [(column,) for column in columns]
        day = in_days(_x, unit)
        if unit != ticks:
            yield "difference", _x("*", ticks // unit) if unit < ticks else _x("//", unit // ticks), ones
        starts = day("year")("days", day("month"), 1), day("year")("days", 1, 1), day("-", day("+", 3)("%", 7))
        yield from (("difference", start if ticks == 1 else start("*", ticks), ones) for start in starts)
    for day, given in _days_from(roles, days):
        if ticks == 1:
            yield "difference", day, given
        else:
            count = len(given[0])
            for time, also in _times_from(roles, ticks, count):
                columns = [(*one, *other) for one in given for other in also if not set(one) & set(other)]
                if columns:
                    yield "difference", day("*", ticks)("+", time) if time.steps else day("*", ticks), columns


def _days_from(roles: _Roles, days: Numbers) -> Iterator[tuple[Expression, list[tuple[int, ...]]]]:
    """What may give a day: years, months and days, of which the first may always be the same; written dates; times."""
    usual_year, usual_month = _usual(calendar.year(days)), _usual(calendar.month(days))
    z = Expression.parent(2)
    forms: list[tuple[Expression, tuple[Sequence[int], ...]]] = [
        (_x("days", _y, z), (roles.years, roles.months, roles.days))
    ]
    if usual_year is not None:
        year = Expression.constant(usual_year)
        forms.append((year("days", _x, _y), (roles.months, roles.days)))
        if usual_month is not None:
            forms.append((year("days", usual_month, _x), (roles.days,)))
    forms.append((_unwritten(_x), (roles.written,)))
    forms += [(in_days(_x, unit), (columns,)) for unit, columns in _by_unit(roles.dates)]
    for form, columns in forms:
        given = [chosen for chosen in product(*columns) if len(set(chosen)) == len(chosen)]
        if given:
            yield form, given


def _times_from(roles: _Roles, ticks: int, first: int) -> Iterator[tuple[Expression, list[tuple[int, ...]]]]:
    """What may give the time of day, in ticks, by parents from `first` on."""
    a, b, c = (Expression.parent(first + place) for place in range(3))
    yield Expression(()), [()]
    hour, minute, second = (ticks // unit for unit in (24, 1440, 86_400))
    yield a("*", hour), [(h,) for h in roles.hours]
    yield a("minutes")("*", minute), [(clock,) for clock in roles.clocks]
    pairs = list(product(roles.hours, roles.minutes))
    yield a("*", hour)("+", b("*", minute)), pairs
    triples = [(h, *rest) for h in roles.hours for rest in permutations(roles.minutes, 2)]
    yield a("*", hour)("+", b("*", minute))("+", c("*", second)), triples
    for unit, columns in _by_unit(roles.times):
        scaled = a if unit == ticks else a("*", ticks // unit) if unit < ticks else a("//", unit // ticks)
        yield scaled, [(column,) for column in columns]


def _usual(values: Numbers) -> int | None:
    """The value that nearly all are, if there is one."""
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()]) if counts.max() >= _NEARLY * len(values) else None
