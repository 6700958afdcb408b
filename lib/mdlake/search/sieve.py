"""What columns tell of one another, in bits, on some of the rows: the sieve before anything is coded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.logarithm import entropy, log2, sum_of_log2
from mdlake.coding.mixing import PREVIOUS, Context
from mdlake.coding.prequential import COARSE, bits, chances, coarse
from mdlake.encodings.known import Codes, Parent
from mdlake.search.sample import sample
from mdlake.streams import numbers

FEW = 1024
"""Of a column with so many values or fewer every row tells of all; of others all rows of some values are looked at."""
NEAREST = 24
"""So many other columns at most are looked at for each."""
_BESIDE = 4
_DOUBT = 0.5
"""Of what is told of steps, so much lasts where what a prediction leaves is coded."""
_SKETCH, _SKETCH_ROWS, _TOGETHER = 12, 1024, 16


class Sieve(Protocol):
    """Bits are those of `size` rows."""

    def saved(self, column: int, parents: Sequence[int]) -> float:
        """Bits that a column takes less where one parent, or two, are known; below 0 if that does harm."""
        ...


class Adaptive:
    """For models that learn as they go: over stretches of rows, in order."""

    def __init__(
        self,
        codes: Mapping[int, Codes],
        plain: Mapping[int, float],
        apart: Mapping[int, float],
        steps: Mapping[int, Codes],
    ) -> None:
        """codes: of each column, without gaps; plain: the bits of each with no context; apart: as `alone` has them.
        steps: of each series, how wide its steps are."""
        self._codes, self._plain, self._apart = codes, plain, apart
        self._followed = {column: chances(found, ((0, 0),)) for column, found in codes.items()}
        self._coarse = {column: coarse(np.bincount(found))[found] for column, found in codes.items()}
        self._plain_coarse = {column: bits(chances(found, ())) for column, found in self._coarse.items()}
        self._steps = steps
        self._plain_steps = {
            column: min(bits(chances(found, context)) for context in ((), ((0, 0),), ((0, 0), (1, 0))))
            for column, found in self._steps.items()
        }

    def saved(self, column: int, parents: Sequence[int]) -> float:
        context, plain = _context(len(parents)), self._plain[column]
        beside = _beside(self._codes, parents)
        found = chances(self._codes[column], context, beside)
        saved = plain - min(bits(found), bits((found + self._followed[column]) / 2))
        if column in self._steps:
            around = (beside, _beside(self._coarse, parents))
            found = min(bits(chances(self._steps[column], context, one)) for one in around)
            less = self._plain_steps[column] - found
            saved = max(saved, plain - self._apart[column] + _DOUBT * less)
        if len(parents) > 1:
            return saved
        less = self._plain_coarse[column] - bits(chances(self._coarse[column], context, _beside(self._coarse, parents)))
        return max(saved, less)


class Static:
    """For tables that do not adapt: over all rows of some of a parent's values, wherever they are.

    A few rows of each of many values would not tell what all of them do.
    """

    def __init__(self, columns: Mapping[int, Parent], size: int, looked_at: int) -> None:
        self._columns = {column: _Counted(parent.codes, looked_at) for column, parent in columns.items()}
        self._size = size

    def saved(self, column: int, parents: Sequence[int]) -> float:
        child, known = self._columns[column], [self._columns[parent] for parent in parents]
        rows = max(known, key=lambda one: len(one.counts)).rows
        context = _context(len(parents))
        beside = np.stack([one.codes[rows] for one in known], 1)
        symbols = child.codes[rows]
        saved = child.bits * _less(chances(symbols, context, beside, child.shares), child.shares[symbols])
        if len(parents) == 1:
            symbols, shares = child.part[symbols], child.coarse_shares
            around = [beside] if len(child.counts) > COARSE else []
            around += [known[0].part[beside]] if len(known[0].counts) > COARSE else []
            for coarser in around:
                less = _less(chances(symbols, context, coarser, shares), shares[symbols])
                saved = max(saved, child.coarse_bits * less)
        return saved * self._size


class _Counted:
    """A column's codes, and how often each occurs."""

    def __init__(self, codes: Codes, looked_at: int) -> None:
        self.codes = codes
        self.counts = np.bincount(codes)
        self._looked_at = looked_at

    @cached_property
    def rows(self) -> NDArray[np.intp]:
        count = len(self.codes)
        if len(self.counts) > FEW:
            hashes = np.arange(1, len(self.counts) + 1, dtype=np.uint32) * np.uint32(0x9E3779B1)
            chosen = hashes <= np.uint32(min(self._looked_at / count, 1.0) * 0xFFFFFFFF)
            rows = np.flatnonzero(chosen[self.codes])
            if len(rows) > self._looked_at // 4:
                return rows[: 2 * self._looked_at]
        return np.linspace(0, count - 1, min(self._looked_at, count)).astype(np.intp)

    @cached_property
    def bits(self) -> float:
        return entropy(self.shares)

    @cached_property
    def shares(self) -> NDArray[np.float32]:
        return (self.counts / len(self.codes)).astype(np.float32)

    @cached_property
    def part(self) -> Codes:
        """uint32 [codes]: the part of each code."""
        return coarse(self.counts)

    @cached_property
    def coarse_bits(self) -> float:
        return entropy(self.coarse_shares)

    @cached_property
    def coarse_shares(self) -> NDArray[np.float32]:
        return (np.bincount(self.part, self.counts) / len(self.codes)).astype(np.float32)


def nearest(codes: Mapping[int, Codes]) -> dict[int, list[int]]:
    """For each column the others worth a look: all or, of very many, those beside it in the table and those that tell
    most of it by a sketch of some rows."""
    columns = list(codes)
    if len(columns) <= NEAREST + 1:
        return {column: [other for other in columns if other != column] for column in columns}
    rows = np.linspace(0, len(codes[columns[0]]) - 1, min(_SKETCH_ROWS, len(codes[columns[0]]))).astype(np.intp)
    sketch = np.stack([coarse(np.bincount(found), _SKETCH)[found[rows]] for found in codes.values()], 1)
    marks = np.zeros((len(rows), len(columns), _SKETCH), np.float32)
    np.put_along_axis(marks, sketch[:, :, None].astype(np.intp), 1, 2)
    flat = marks.reshape(len(rows), -1)
    chosen = {}
    for first in range(0, len(columns), _TOGETHER):
        some = flat[:, first * _SKETCH : (first + _TOGETHER) * _SKETCH].T @ flat / len(rows)
        for place, joint in enumerate(some.reshape(-1, _SKETCH, len(columns), _SKETCH), first):
            told = (joint * log2(np.maximum(joint, 1e-12))).sum(axis=(0, 2))
            apart = (joint.sum(axis=0) * log2(np.maximum(joint.sum(axis=0), 1e-12))).sum(axis=1)
            mutual = told - apart  # and what the column itself has, which is the same for all
            mutual[max(place - _BESIDE, 0) : place + _BESIDE + 1] = np.inf
            best = np.argsort(-mutual, kind="stable")[: NEAREST + 1]
            chosen[columns[place]] = [columns[other] for other in sorted(best.tolist()) if other != place]
    return chosen


def sampled(codes: Codes, size: int) -> Codes:
    """Codes of stretches of rows, made without gaps."""
    return np.unique(numbers(sample(codes, size)), return_inverse=True)[1].astype(np.uint32)


def alone(codes: Codes, plain: float) -> float:
    """Bits of a column by itself: of its values (`plain`), of its values after the one before, or of its steps."""
    steps = np.unique(np.diff(codes.astype(np.int64)), return_inverse=True)[1].astype(np.uint32)
    return min(plain, bits(chances(codes, ((0, 0),))), bits(chances(steps, ())))


def _context(parents: int) -> Context:
    return tuple((PREVIOUS + place, 0) for place in range(parents))


def _beside(codes: Mapping[int, Codes], parents: Sequence[int]) -> Codes:
    return np.stack([codes[parent] for parent in parents], 1)


def _less(found: NDArray[np.float32], plain: NDArray[np.float32]) -> float:
    """The share of the bits that plain chances take which those found save."""
    return 1 - sum_of_log2(found) / min(sum_of_log2(plain), -1.0)
