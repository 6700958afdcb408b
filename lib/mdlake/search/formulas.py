"""Formulas searched: which expression over other columns leaves the least of a column to say.

An enumerated grammar over columns of numbers: sums, differences, products and quotients of them and of what clocks and
calendars (`dates`) make of them. Each candidate is tried on a few rows, the best on more. What is left is measured as
`chances` would have it, so that a formula is worth what the sieve's other figures are worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.logarithm import log2
from mdlake.coding.prequential import bits, chances
from mdlake.encodings.formula import parts
from mdlake.expressions import Expression, Numbers
from mdlake.search.dates import Dates

FEW = 256
ALWAYS, MOST = 4, 24
"""Candidates of a column that are tried on more rows: the best whatever they promise, the others if it is enough."""
_CLOCK_LIMIT = 2400
_ROWS = 24
_FEWER = 12
"""So many columns at most are tried three at a time."""
USEFUL = 0.75
"""A formula leaves no more than this share of what a column takes alone."""
_LARGEST = 1 << 40
_DENSE = 8
_parent = Expression.parent
Candidate = tuple[str, Expression]


@dataclass(frozen=True)
class Found:
    """A formula for a column: what it leaves takes so many bits of the sample."""

    how: str
    expression: Expression
    bits: float


@dataclass(frozen=True)
class _Family:
    """Candidates of one form: the expression over parents 0, 1, ..., and the columns [k, parents] that these may be."""

    how: str
    form: Expression
    columns: Sequence[tuple[int, ...]]

    def candidate(self, which: int) -> Candidate:
        return self.how, self.form.renumbered(dict(enumerate(self.columns[which])))

    def spreads(self, values: Numbers, numbers: Mapping[int, Numbers]) -> NDArray[np.float64]:
        """[k]: how wide each leaves the values."""
        chosen = [
            np.stack([numbers[columns[role]] for columns in self.columns]) for role in range(len(self.columns[0]))
        ]
        return _spread(self.how, values, self.form.evaluate(chosen.__getitem__, len(values)))


class Formulas:
    """What is searched in: int64 numbers of a sample's rows, by column."""

    def __init__(self, numbers: Mapping[int, Numbers]) -> None:
        self._numbers = numbers
        rows = len(next(iter(numbers.values()))) if numbers else 0
        few = np.linspace(0, rows - 1, min(FEW, rows)).astype(np.intp)
        self._few = {column: found[few] for column, found in numbers.items()}
        self._clocks = {column for column, found in numbers.items() if _is_clock(found)}
        self._steps = {column: _step(found) for column, found in numbers.items()}
        self._dates = Dates(self._few, sorted(self._clocks))
        self._sums = {column: _Sums(_digits(_parent(column), found)) for column, found in self._few.items()}

    @property
    def columns(self) -> list[int]:
        return list(self._numbers)

    def of(self, target: int, alone: float, among: Sequence[int]) -> list[Found]:
        """Formulas for a column over some others, shortest first: those that leave little enough of `alone` bits."""
        others = [column for column in among if column in self._numbers]
        values, few = self._numbers[target], self._few[target]
        priced: list[tuple[float, int, Candidate]] = []
        for family in self._families(target, others):
            spreads = family.spreads(few, self._few)
            for which in np.argsort(spreads, kind="stable")[:MOST]:
                priced.append((float(spreads[which]), len(priced), family.candidate(int(which))))
        for how, expression in (*self._exact(target, others[:MOST]), *_ratios(target, others[:_FEWER], self._few)):
            explained = expression.evaluate(self._few.get, len(few))
            priced.append((float(_spread(how, few, explained)), len(priced), (how, expression)))
        found = []
        for place, (spread, _, (how, expression)) in enumerate(sorted(priced, key=lambda item: item[:2])[:MOST]):
            if place >= ALWAYS and spread * len(values) > alone:
                break
            remains, corrections = parts(how, values, expression.evaluate(self._numbers.get, len(values)))
            price = bits_of_numbers(remains) + (bits_of_numbers(corrections) if corrections.any() else 0.0)
            found.append(Found(how, expression, price))
        return sorted((f for f in found if f.bits < USEFUL * alone), key=lambda f: (f.bits, len(f.expression.steps)))

    def _families(self, target: int, others: Sequence[int]) -> Iterator[_Family]:
        clocks = [column for column in others if column in self._clocks]
        x, y = _parent(0), _parent(1)
        singles = [("difference", x, others), ("difference", x("//", 100), others), ("difference", x("%", 100), others)]
        singles += [
            ("quotient", _by(x, step), [k for k in others if self._steps[k] == step])
            for step in sorted({self._steps[k] for k in others})
        ]
        singles += [("difference", x("minutes"), clocks)]
        pairs = [
            ("difference", x("+", y), combinations(others, 2)),
            ("difference", x("*", y), combinations(others, 2)),
            ("difference", x("-", y), permutations(others, 2)),
            ("difference", x("*", 100)("+", y), permutations(others, 2)),
        ]
        timed = [(one, other) for one in clocks for other in others if one != other]
        both = list(permutations(clocks, 2))
        pairs += [
            ("difference", x("minutes")("-", y), timed),
            ("difference", x("minutes")("-", y("minutes")), both),
            ("difference", x("minutes")("-", y("minutes"))("+", 720)("%", 1440)("-", 720), both),
        ]
        singles += [("residue", x, others)]
        if target in self._clocks:
            singles += [("clock", x("minutes"), clocks)]
            pairs += [("clock", x("minutes")("+", y), timed), ("clock", x("minutes")("-", y), timed)]
        families = [_Family(how, form, [(one,) for one in columns]) for how, form, columns in singles]
        families += [_Family(how, form, list(columns)) for how, form, columns in pairs]
        families += [_Family(*family) for family in self._dates.families(target, others)]
        return (family for family in families if family.columns)

    def _exact(self, target: int, others: Sequence[int]) -> Iterator[Candidate]:
        """A column, or how many times another it is, as a sum of two parts of the digits of a third."""
        values = self._few[target]
        for column in others:
            yield from (("difference", found) for found in self._sums[column].equal_to(values))
        for one in others:
            by = _by(_parent(one), self._steps[one])
            times, corrections = parts("quotient", values, by.evaluate(self._few.get, len(values)))
            if np.count_nonzero(corrections) == 0 and np.count_nonzero(times):
                for column in others:
                    for found in self._sums[column].equal_to(times) if column != one else ():
                        yield "difference", by("*", found)


class _Sums:
    """Expressions a f + b g + c, with whole numbers, over parts of a column's digits."""

    def __init__(self, of: Sequence[tuple[Expression, Numbers]]) -> None:
        self._pairs = list(combinations(of, 2))
        count = len(of[0][1])
        self._rows = np.linspace(0, count - 1, _ROWS).astype(np.intp)
        ones = np.ones(_ROWS)
        matrices = [np.stack([left[self._rows], right[self._rows], ones], 1) for (_, left), (_, right) in self._pairs]
        self._matrices = np.array(matrices, np.float64).reshape(-1, _ROWS, 3)
        self._inverses = np.linalg.pinv(self._matrices)

    def equal_to(self, values: Numbers) -> Iterator[Expression]:
        """The first that is the values of nearly all rows."""
        few = values[self._rows].astype(np.float64)
        if np.ptp(few) == 0:
            return
        factors = np.clip(np.rint(self._inverses @ few), -_LARGEST, _LARGEST)
        missed = (np.einsum("krf,kf->kr", self._matrices, factors) != few).sum(axis=1)
        for k in np.flatnonzero((missed <= _ROWS // 4) & factors[:, :2].any(axis=1)):
            (f, left), (g, right) = self._pairs[k]
            a, b, c = (int(v) for v in factors[k])
            if np.count_nonzero(a * left + b * right + c != values) <= 0.1 * len(values):
                scaled = [part if factor == 1 else part("*", factor) for part, factor in ((f, a), (g, b)) if factor]
                total = scaled[0] if len(scaled) == 1 else scaled[0]("+", scaled[1])
                yield total("+", c) if c else total
                return


def _step(values: Numbers) -> int:
    """The largest number that all values are multiples of, at least 1."""
    return max(int(np.gcd.reduce(values)) if len(values) else 1, 1)


def _by(x: Expression, step: int) -> Expression:
    """A column by its step."""
    return x("//", step) if step > 1 else x


def _ratios(target: int, others: Sequence[int], numbers: Mapping[int, Numbers]) -> Iterator[Candidate]:
    """c x / y and c x / (y + z), rounded, where the same c fits nearly all rows: shares, means, rates."""
    values = numbers[target].astype(np.float64)
    pairs = list(combinations(others, 2))
    divisors = [_parent(y) for y in others] + [_parent(y)("+", _parent(z)) for y, z in pairs]
    if len(others) < 2:
        return
    amounts = np.stack([numbers[y] for y in others] + [numbers[y] + numbers[z] for y, z in pairs]).astype(np.float64)
    usable = (amounts != 0) & (values != 0)
    for one in others:
        x = numbers[one].astype(np.float64)
        rows = usable & (x != 0)
        factors = np.where(rows, values * amounts / np.where(x == 0, 1, x), np.inf)
        counts = rows.sum(axis=1)
        middles = np.take_along_axis(np.sort(factors, axis=1), np.minimum(counts // 2, len(x) - 1)[:, None], 1)
        with np.errstate(invalid="ignore"):  # rows that do not count are infinite
            near = (np.abs(factors - middles) <= 0.02 * np.abs(middles)).sum(axis=1) > 0.8 * counts
        for k in np.flatnonzero(near & (counts >= len(x) // 2) & (counts > 0)):
            middle = float(middles[k, 0])
            if one not in divisors[k].parents and 0.5 <= abs(middle) < _LARGEST:
                yield "difference", _parent(one)("*", _rounded(middle))("/", divisors[k])


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


def _is_clock(values: Numbers) -> bool:
    """Whether these may be times written HHMM."""
    return bool(values.min() >= 0 and values.max() <= _CLOCK_LIMIT and values.max() > 60 and (values % 100 < 60).all())


def _spread(how: str, values: Numbers, explained: Numbers) -> NDArray[np.float64]:
    """How wide what is left is on few rows: the mean number of its bits around its middle. Over the last axis."""
    remains, corrections = parts(how, values, explained)
    middle = np.sort(remains, axis=-1)[..., remains.shape[-1] // 2, None]
    widths = log2(np.abs((remains - middle).astype(np.float64)) + 1)
    if corrections.any():
        widths += log2(np.abs(corrections.astype(np.float64)) + 1)
    return widths.mean(axis=-1)


def bits_of_numbers(values: Numbers) -> float:
    """Bits of a series of numbers with no context: the common ones by their chances, the digits of wide ones beside."""
    low, span = int(values.min()), int(values.max()) - int(values.min())
    if span < _DENSE * len(values):
        counts = np.bincount(values - low)
        distinct = np.flatnonzero(counts)
    else:
        counts, distinct = None, np.unique(values)
    if len(distinct) > len(values) // 8:
        middle = np.partition(values, len(values) // 2)[len(values) // 2]
        wide = np.frexp(np.abs(values - middle).astype(np.float64))[1]
        return bits(chances(wide.astype(np.uint32), ())) + float(np.maximum(wide, 0).sum())
    symbols = np.searchsorted(distinct, values) if counts is None else (np.cumsum(counts > 0) - 1)[values - low]
    table = float(log2(np.abs(np.diff(distinct).astype(np.float64)) + 1).sum())
    return bits(chances(symbols.astype(np.uint32), ())) + table
