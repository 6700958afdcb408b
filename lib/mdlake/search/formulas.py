"""Formulas searched: which expression over other columns leaves the least of a column to say.

An enumerated grammar over pairs of columns of numbers: sums, differences, products and quotients of them and of what
clocks and calendars make of them. Each candidate is tried on a few rows, the best on more. What is left is measured as
`chances` would have it, so that a formula is worth what the sieve's other figures are worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from mdlake.coding.prequential import bits, chances
from mdlake.encodings.formula import unexplained
from mdlake.expressions import Expression, Numbers

FEW = 256
MOST = 24
"""Candidates of a column that are tried on more rows."""
_CLOCK_LIMIT = 2400
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
    priced = [
        (_spread(how, expression, quick, target), place, how, expression)
        for place, (how, expression) in enumerate(_candidates(target, numbers))
    ]
    found = []
    for _, _, how, expression in sorted(priced, key=lambda item: item[:2])[:MOST]:
        left = unexplained(how, values, expression.evaluate(numbers.get, len(values)))
        found.append(Found(how, expression, bits_of_numbers(left)))
    return sorted((f for f in found if f.bits < alone / 2), key=lambda f: (f.bits, len(f.expression.steps)))


def _candidates(target: int, numbers: Mapping[int, Numbers]) -> Iterator[tuple[str, Expression]]:
    others = [column for column in numbers if column != target]
    clocks = {column for column in numbers if _is_clock(numbers[column])}
    for one in others:
        x = _parent(one)
        yield "difference", x
        yield "quotient", x
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


def _is_clock(values: Numbers) -> bool:
    """Whether these may be times written HHMM."""
    return bool(values.min() >= 0 and values.max() <= _CLOCK_LIMIT and values.max() > 60 and (values % 100 < 60).all())


def _spread(how: str, expression: Expression, numbers: Mapping[int, Numbers], target: int) -> float:
    """How wide what is left is on few rows: the mean number of its bits around its middle."""
    values = numbers[target]
    left = unexplained(how, values, expression.evaluate(numbers.get, len(values)))
    middle = np.sort(left)[len(left) // 2]
    return float(np.log2(np.abs(left - middle).astype(np.float64) + 1).mean())


def bits_of_numbers(values: Numbers) -> float:
    """Bits of a series of numbers with no context: the common ones by their chances, the digits of wide ones beside."""
    distinct, symbols = np.unique(values, return_inverse=True)
    if len(distinct) > len(values) // 8:
        wide = np.frexp(np.abs(values - np.sort(values)[len(values) // 2]).astype(np.float64))[1]
        return bits(chances(wide.astype(np.uint32), ())) + float(np.maximum(wide, 0).sum())
    table = float(np.log2(np.abs(np.diff(distinct)).astype(np.float64) + 1).sum())
    return bits(chances(symbols.astype(np.uint32), ())) + table
