"""The rows of a block row in another order, if that makes it shorter: sorted by columns that others follow.

Which columns is found on a sample, one after the other, by about the bits that all columns then take. The sort is
stable and by the codes of `parents.Column`, so the same rows give the same order everywhere. The way back is the rank
of each row's key among those that occur, in the original order: sorting the ranks gives the permutation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mdlake.coding.logarithm import entropy, log2
from mdlake.errors import InvalidArgumentError
from mdlake.parents import Column
from mdlake.search.sample import places

Codes = NDArray[np.uint32]

_SAMPLE = 1 << 16
_CANDIDATES = 12
_MOST_KEYS = 4
_ENOUGH = 0.99
_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}


def sort_columns(arrays: Sequence[pa.Array], allowed: Sequence[int], *, stored: bool) -> tuple[int, ...]:
    """The columns to sort by, the first most significant; none if the sample gets no shorter by it.

    Args:
        allowed: positions of the columns that may be chosen.
        stored: whether the way back will be stored, and has to be paid for.
    """
    found = {i: column.codes for i, array in enumerate(arrays) if (column := Column.of(_sampled(array))) is not None}
    distinct = {i: int(codes.max(initial=0)) for i, codes in found.items() if i in allowed}
    useful = sorted((number, i) for i, number in distinct.items() if 1 < number <= len(found[i]) // 2)
    candidates = [i for _, i in useful[:_CANDIDATES]]
    chosen: tuple[int, ...] = ()
    least = sum(map(_bits, found.values())) * _ENOUGH
    while len(chosen) < _MOST_KEYS:
        prices = {}
        for one in (one for one in candidates if one not in chosen):
            ranks = _ranks([found[i] for i in (*chosen, one)])
            rows = sorted_rows(ranks)
            prices[one] = sum(_bits(codes[rows]) for codes in found.values()) + (_bits(ranks) if stored else 0)
        best = min(prices, key=lambda one: (prices[one], one), default=None)
        if best is None or prices[best] >= least:
            break
        chosen, least = (*chosen, best), prices[best] * _ENOUGH
    return chosen


def key_ranks(arrays: Sequence[pa.Array], columns: Sequence[int]) -> Codes | None:
    """uint32 [rows]: the rank of each row's key; None if one of the columns cannot be sorted by."""
    found = [Column.of(arrays[i]) for i in columns]
    codes = [column.codes for column in found if column is not None]
    return _ranks(codes) if len(codes) == len(found) else None


def sorted_rows(ranks: Codes) -> NDArray[np.int64]:
    """int64 [rows]: the original row of each row in the new order."""
    return np.argsort(ranks, kind="stable")


def original_rows(ranks: Codes) -> NDArray[np.int64]:
    """int64 [rows]: where in the new order each original row lies, the inverse of `sorted_rows`."""
    places_ = np.empty(len(ranks), np.int64)
    places_[sorted_rows(ranks)] = np.arange(len(ranks))
    return places_


def take(array: pa.Array, rows: NDArray[np.int64]) -> pa.Array:
    """Some rows of an array, in the order given.

    Raises:
        InvalidArgumentError: Arrow cannot do that with this type.
    """
    if plain := _VIEWS.get(array.type):
        return array.cast(plain).take(pa.array(rows)).cast(array.type)
    try:
        return array.take(pa.array(rows))
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise InvalidArgumentError(
            f"rows with a value of type {array.type} cannot be reordered; leave the column out, or do not reorder"
        ) from error


def _ranks(codes: Sequence[Codes]) -> Codes:
    """The dense rank of each row by these codes, the first most significant."""
    ranks = np.zeros(len(codes[0]), np.int64)
    for column in codes:
        keys = ranks * (int(column.max(initial=0)) + 1) + column
        ranks = np.unique(keys, return_inverse=True)[1]
    return ranks.astype(np.uint32)


def _sampled(array: pa.Array) -> pa.Array:
    starts, length = places(len(array), _SAMPLE)
    return take(array, np.concatenate([np.arange(start, start + length) for start in starts]))


def _bits(codes: Codes) -> float:
    """About the bits of a column in this order: as symbols, as runs of them, or as differences, what is least."""
    steps = np.diff(codes.astype(np.int64))
    starts = np.flatnonzero(np.concatenate([[1], steps]))
    runs = len(starts) * (_entropy(codes[starts]) + float(log2(len(codes) / len(starts))) + 2)
    widths = np.frexp(np.abs(steps).astype(np.float64))[1]
    differences = len(steps) * _entropy(widths) + float(widths.sum())
    return min(len(codes) * _entropy(codes), runs, differences)


def _entropy(symbols: NDArray[np.integer]) -> float:
    """Order-0 entropy, bits per symbol."""
    return entropy(np.bincount(symbols) / max(len(symbols), 1))
