"""Formulas searched: which expression over other columns leaves the least of a column to say.

An enumerated grammar over pairs of columns of numbers: sums, differences, products and quotients of them and of what
clocks and calendars make of them. Each candidate is tried on a few rows, the best on more. What is left is measured as
`chances` would have it, so that a formula is worth what the sieve's other figures are worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from mdlake.coding.prequential import bits, chances
from mdlake.encodings.formula import parts
from mdlake.expressions import Expression, Numbers

FEW = 256
MOST = 24
"""Candidates of a column that are tried on more rows."""
_CLOCK_LIMIT = 2400
_ROWS = 24
_FEWER = 12
"""So many columns at most are tried three at a time."""
_parent = Expression.parent


@dataclass(frozen=True)
class Found:
    """A formula for a column: what it leaves takes so many bits of the sample."""

    how: str
    expression: Expression
    bits: float


def formulas(target: int, numbers: Mapping[int, Numbers], alone: float) -> list[Found]:
    """Formulas for column `target` over the others, shortest first: those that leave less than half of `alone`."""
    values = numbers[target]
    few = np.linspace(0, len(values) - 1, min(FEW, len(values))).astype(np.intp)
    quick = {column: found[few] for column, found in numbers.items()}
    candidates = [*_candidates(target, numbers), *_exact(target, quick), *_ratios(target, quick)]
    priced = [
        (_spread(how, expression, quick, target), place, how, expression)
        for place, (how, expression) in enumerate(candidates)
    ]
    found = []
    for _, _, how, expression in sorted(priced, key=lambda item: item[:2])[:MOST]:
        remains, corrections = parts(how, values, expression.evaluate(numbers.get, len(values)))
        price = bits_of_numbers(remains) + (bits_of_numbers(corrections) if corrections.any() else 0.0)
        found.append(Found(how, expression, price))
    return sorted((f for f in found if f.bits < alone / 2), key=lambda f: (f.bits, len(f.expression.steps)))


def _candidates(target: int, numbers: Mapping[int, Numbers]) -> Iterator[tuple[str, Expression]]:
    others = [column for column in numbers if column != target]
    clocks = {column for column in numbers if _is_clock(numbers[column])}
    for one in others:
        x = _parent(one)
        yield "difference", x
        yield "quotient", _in_steps(x, numbers[one])
        yield "difference", x("//", 100)
        yield "difference", x("%", 100)
        if one in clocks:
            yield "difference", x("minutes")
            if target in clocks:
                yield "clock", x("minutes")
    for one, other in permutations(others, 2):
        x, y = _parent(one), _parent(other)
        if one < other:
            yield "difference", x("+", y)
            yield "difference", x("*", y)
        yield "difference", x("-", y)
        yield "difference", x("*", 100)("+", y)
        if one in clocks:
            yield "difference", x("minutes")("-", y)
            if target in clocks:
                yield "clock", x("minutes")("+", y)
                yield "clock", x("minutes")("-", y)
        if one in clocks and other in clocks:
            yield "difference", x("minutes")("-", y("minutes"))
            yield "difference", x("minutes")("-", y("minutes"))("+", 720)("%", 1440)("-", 720)


def _in_steps(x: Expression, values: Numbers) -> Expression:
    """A column by its step, where all its values are multiples of one."""
    step = int(np.gcd.reduce(values)) if len(values) else 1
    return x("//", step) if step > 1 else x


def _exact(target: int, numbers: Mapping[int, Numbers]) -> Iterator[tuple[str, Expression]]:
    """A column, or how many times another it is, as a sum of two parts of the digits of a third."""
    others = [column for column in numbers if column != target][:MOST]
    parts_ = {column: _digits(_parent(column), numbers[column]) for column in others}
    for column in others:
        yield from (("difference", found) for found in _sums(numbers[target], parts_[column]))
    for one in others:
        by = _in_steps(_parent(one), numbers[one])
        times, corrections = parts("quotient", numbers[target], by.evaluate(numbers.get, len(numbers[one])))
        if np.count_nonzero(corrections) == 0 and np.count_nonzero(times):
            for column in others:
                for found in _sums(times, parts_[column]) if column != one else ():
                    yield "difference", by("*", found)


def _ratios(target: int, numbers: Mapping[int, Numbers]) -> Iterator[tuple[str, Expression]]:
    """c x / y and c x / (y + z), rounded, where the same c fits nearly all rows: shares, means, rates."""
    others = [column for column in numbers if column != target][:_FEWER]
    values = numbers[target].astype(np.float64)
    below = [(_parent(y), numbers[y], {y}) for y in others]
    below += [(_parent(y)("+", _parent(z)), numbers[y] + numbers[z], {y, z}) for y, z in combinations(others, 2)]
    for one in others:
        x = numbers[one].astype(np.float64)
        for divisor, amounts, used in below:
            rows = (x != 0) & (amounts != 0) & (values != 0)
            if one in used or np.count_nonzero(rows) < len(x) // 2:
                continue
            factors = values[rows] * amounts[rows] / x[rows]
            middle = float(np.sort(factors)[len(factors) // 2])
            if 0.5 <= abs(middle) < 1 << 40 and np.mean(np.abs(factors - middle) <= 0.02 * abs(middle)) > 0.8:
                yield "difference", _parent(one)("*", _rounded(middle))("/", divisor)


def _rounded(factor: float) -> int:
    """A factor as people choose them: two digits and zeros, if that is as near as can be told."""
    unit = 10.0 ** max(len(str(int(abs(factor)))) - 2, 0)
    short = round(factor / unit) * unit
    return int(short) if abs(short - factor) <= 0.01 * abs(factor) else round(factor)


def _digits(x: Expression, values: Numbers) -> list[tuple[Expression, Numbers]]:
    """What stands before and behind some digit of a number, or some unit of time."""
    largest = int(np.abs(values).max())
    units = [unit for unit in (7, 10, 12, 24, 60, 100, 1000, 10_000) if unit <= largest]
    found = [(x, values)]
    for unit in units:
        found += [(x("//", unit), values // unit), (x("%", unit), values % unit)]
    return found


def _sums(values: Numbers, of: Sequence[tuple[Expression, Numbers]]) -> Iterator[Expression]:
    """Expressions a f + b g + c, with whole numbers, that are the values of nearly all rows."""
    rows = np.linspace(0, len(values) - 1, _ROWS).astype(np.intp)
    few = values[rows].astype(np.float64)
    if np.ptp(few) == 0:
        return
    for (f, left), (g, right) in combinations(of, 2):
        matrix = np.stack([left[rows], right[rows], np.ones(_ROWS)], 1).astype(np.float64)
        fit = np.linalg.lstsq(matrix, few, rcond=None)[0]
        a, b, c = (int(v) for v in np.clip(np.rint(fit), -(1 << 40), 1 << 40))
        if (a or b) and np.count_nonzero(a * left + b * right + c != values) <= 0.1 * len(values):
            scaled = [part if factor == 1 else part("*", factor) for part, factor in ((f, a), (g, b)) if factor]
            total = scaled[0] if len(scaled) == 1 else scaled[0]("+", scaled[1])
            yield total("+", c) if c else total
            return


def _is_clock(values: Numbers) -> bool:
    """Whether these may be times written HHMM."""
    return bool(values.min() >= 0 and values.max() <= _CLOCK_LIMIT and values.max() > 60 and (values % 100 < 60).all())


def _spread(how: str, expression: Expression, numbers: Mapping[int, Numbers], target: int) -> float:
    """How wide what is left is on few rows: the mean number of its bits around its middle."""
    values = numbers[target]
    remains, corrections = parts(how, values, expression.evaluate(numbers.get, len(values)))
    middle = np.sort(remains)[len(remains) // 2]
    widths = np.log2(np.abs(remains - middle).astype(np.float64) + 1) + np.log2(
        np.abs(corrections).astype(np.float64) + 1
    )
    return float(widths.mean())


def bits_of_numbers(values: Numbers) -> float:
    """Bits of a series of numbers with no context: the common ones by their chances, the digits of wide ones beside."""
    distinct, symbols = np.unique(values, return_inverse=True)
    if len(distinct) > len(values) // 8:
        wide = np.frexp(np.abs(values - np.sort(values)[len(values) // 2]).astype(np.float64))[1]
        return bits(chances(wide.astype(np.uint32), ())) + float(np.maximum(wide, 0).sum())
    table = float(np.log2(np.abs(np.diff(distinct)).astype(np.float64) + 1).sum())
    return bits(chances(symbols.astype(np.uint32), ())) + table
