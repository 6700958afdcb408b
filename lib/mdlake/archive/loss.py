"""The loss that an error bound allows: a column's values replaced by near ones that take fewer bytes.

Candidates, of which the shortest is kept. For an absolute bound: an even grid of step 2 x limit; one that fits the
decimals that the column has; a finer one on which the series stays where it is while it may; one on which it is what
interpolation foretells while it may. For a relative bound: a grid that is even in the logarithm. Every value is then
checked: one that would not honour the bound keeps its bits. Only operations that IEEE 754 rounds alike on every
machine, so the same column gives the same bytes everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mdlake import block
from mdlake.encodings import Encoding
from mdlake.encodings.floats import LARGEST_EXACT, MAX_DIGITS, decimal_digits, exact_decimals
from mdlake.encodings.interpolated import Interpolated
from mdlake.encodings.octaves import Octaves
from mdlake.encodings.scaled import MAX_DIGITS as MAX_POWER
from mdlake.encodings.scaled import Scaled
from mdlake.error_bounds import Absolute, ErrorBound, Relative
from mdlake.kernels.holding import hold
from mdlake.search.sample import sample
from mdlake.streams import bits_of, kind_of

_SAMPLE = 8192
_WASTE = 0.99
_MANY = 1000
_FINER = 8
_BELOW = 1 - 2.0**-50


@dataclass(frozen=True)
class Approximation:
    """A column with its loss, and how the chain of its values may begin (nothing if no value was changed)."""

    array: pa.Array
    path: tuple[Encoding, ...] = ()


def approximate(array: pa.Array, bound: ErrorBound) -> Approximation:
    """The shortest approximation of an array of float16, float32 or float64; the array itself if none is shorter."""
    values = _values(array)
    found = [Approximation(array)]
    for near, step in _candidates(values, bound):
        honoured = np.where(within(values, near, bound), near, values)
        if len(honoured):
            found.append(Approximation(_replaced(array, honoured), (step,)))
    return min(found, key=lambda each: len(block.encode_array(each.array, "fast", path=each.path)))


def within(source: np.ndarray, values: np.ndarray, bound: ErrorBound) -> NDArray[np.bool_]:
    """bool [n]: where `values` honours the bound, or has the same bits (the only way for NaN and infinities).

    The difference in binary64 must be below the limit, so that the true one cannot exceed it.
    """
    exact, near = source.astype(np.float64), values.astype(np.float64)
    with np.errstate(all="ignore"):
        limit = bound.limit if isinstance(bound, Absolute) else np.abs(exact) * bound.limit * _BELOW
        close = (np.abs(exact - near) < limit) & np.isfinite(near)
    return close | (exact == near) | (bits_of(source) == bits_of(values))


def first_beyond(source: pa.Array, array: pa.Array, bound: ErrorBound) -> int | None:
    """The first row in which an array is not within the bound of its source, None if there is none."""
    if len(source) != len(array):
        return min(len(source), len(array))
    ours, theirs = (each.is_valid().to_numpy(zero_copy_only=False) for each in (array, source))
    far = ours != theirs
    both = np.flatnonzero(ours & theirs)
    exact, near = (_values(each.filter(pa.array(ours & theirs))) for each in (source, array))
    far[both] = ~within(exact, near, bound)
    return int(np.argmax(far)) if far.any() else None


def _candidates(values: np.ndarray, bound: ErrorBound) -> Iterator[tuple[np.ndarray, Encoding]]:
    finite = np.abs(values[np.isfinite(values)].astype(np.float64))
    if not finite.any():
        return
    kind = kind_of(values)
    if isinstance(bound, Relative):
        limit = bound.limit - float(np.finfo(kind.dtype).eps) / 2
        if limit > 0 and (octaves := _octaves(finite, limit)):
            yield octaves.values(octaves.nearest(values), kind), octaves
        return
    large = np.partition(finite, len(finite) * 99 // 100)[len(finite) * 99 // 100]  # beyond it, some may be kept exact
    limit = bound.limit - float(np.spacing(kind.dtype.type(large))) / 2
    for grid in (_grid(2 * limit), _decimal_grid(values, bound)):
        if grid:
            yield grid.values(grid.nearest(values), kind), grid
    if fine := _grid(limit):
        integers = np.zeros(len(values), np.int64)
        hold(values.astype(np.float64), limit * _BELOW, fine.step, integers)
        yield fine.values(integers, kind), fine
    if len(values) and (finer := _grid(limit / _FINER)):
        smooth = Interpolated(finer, max(1, math.floor(2 * limit / finer.step)))
        yield finer.values(_interpolated(values.astype(np.float64), limit * _BELOW, smooth), kind), smooth


def _interpolated(values: NDArray[np.float64], limit: float, smooth: Interpolated) -> NDArray[np.int64]:
    """Integers on the grid within the limit of values: as foretold where that is near enough, else steps from it."""
    unit = smooth.grid.step

    def correction(guess: NDArray[np.int64], places: NDArray[np.intp]) -> NDArray[np.int64]:
        with np.errstate(all="ignore"):
            steps = np.rint((values[places] / unit - guess) / smooth.step)
            needed = (np.abs(values[places] - guess * unit) > limit) & (np.abs(steps) < LARGEST_EXACT / smooth.step)
            return np.where(needed, steps, 0.0).astype(np.int64)

    return smooth.run(len(values), correction)[0]


def _grid(widest: float) -> Scaled | None:
    """A grid of few digits whose step is at most `widest` and not much less; None if there is none."""
    if not 0 < widest < LARGEST_EXACT:
        return None
    powers = (digits for digits in range(-15, MAX_POWER) if widest * float(f"1e{digits}") >= 1 - 1e-6)
    first = next(powers, None)
    if first is None:
        return None
    steps = {digits: math.floor(widest * float(f"1e{digits}") + 1e-6) for digits in range(first, first + 4)}
    enough = (d for d, multiplier in steps.items() if multiplier >= _WASTE * widest * float(f"1e{d}"))
    digits = next(enough, first + 3)
    return Scaled(steps[digits], digits)


def _decimal_grid(values: np.ndarray, bound: Absolute) -> Scaled | None:
    """For a column of decimals, every (2 m + 1)-th of them, m the most below the limit; None if that is many."""
    few = np.ascontiguousarray(sample(values, _SAMPLE))
    digits = decimal_digits(few)
    reach = bound.limit * 10.0**digits
    if digits > MAX_DIGITS or reach >= LARGEST_EXACT or np.mean(exact_decimals(few, digits)[1]) < 0.9:
        return None
    multiplier = 2 * (math.ceil(reach * (1 - 1e-9)) - 1) + 1
    return Scaled(multiplier, digits) if 1 < multiplier < _MANY else None


def _octaves(sizes: NDArray[np.float64], limit: float) -> Octaves | None:
    """Octaves in the fewest steps that honour the limit; see there for how far apart neighbours are."""
    steps = math.floor(3 / (8 * limit)) + 2
    lowest = int(np.frexp(sizes[sizes > 0].min())[1]) - 1
    return Octaves(steps, lowest) if steps < 1 << 40 else None


def _values(array: pa.Array) -> np.ndarray:
    """The values that are not null, at a place of their own."""
    return np.ascontiguousarray(array.drop_null().to_numpy(zero_copy_only=False))


def _replaced(array: pa.Array, values: np.ndarray) -> pa.Array:
    """The array with other values, nulls where they were."""
    if not array.null_count:
        return pa.array(values, array.type)
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    every = np.zeros(len(array), values.dtype)
    every[valid] = values
    return pa.array(every, array.type, mask=~valid)
