"""Estimates of adaptive contexts: what a symbol's chance would be under each, and what several cost together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.logarithm import sum_of_log2
from mdlake.coding.mixing import MAX_SOURCES, Context
from mdlake.kernels import prequential

COARSE = 32
"""Parts of about equal size that a column's values are put into, to see whether where it is tells of another."""


def chances(
    symbols: np.ndarray,
    context: Context,
    parents: NDArray[np.uint32] | None = None,
    shares: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """The probability, float32 [n], that a quickly adapting model gives each symbol when it comes.

    Args:
        parents: uint32 [n, columns], the codes known beside each symbol.
        shares: how frequent each symbol is, where that is known before.
    """
    sources, shifts = np.full(MAX_SOURCES, -1, np.int64), np.zeros(MAX_SOURCES, np.int64)
    for m, (source, shift) in enumerate(context):
        sources[m], shifts[m] = source, shift
    size = 1 << max(len(symbols) * 2 - 1, 1).bit_length()
    totals, kinds, pairs = np.zeros((3, size), np.float32)
    owners = np.zeros((2, size), np.uint32)
    found = np.empty(len(symbols), np.float32)
    parents = np.zeros((len(symbols), 0), np.uint32) if parents is None else parents
    if shares is None:
        shares = np.zeros(int(symbols.max()) + 1 if len(symbols) else 1, np.float32)
    prequential.probabilities(symbols, shares, parents, sources, shifts, owners, totals, kinds, pairs, found)
    return found


def bits(found: NDArray[np.float32]) -> float:
    """Bits of symbols with these chances, as if all were like the later half."""
    half = len(found) // 2
    return -sum_of_log2(found[half:]) * len(found) / max(len(found) - half, 1)


def cost(symbols: np.ndarray, contexts: Sequence[Context], parents: NDArray[np.uint32]) -> float:
    """Bits of the symbols under several contexts whose predictions are averaged."""
    together = np.zeros(len(symbols), np.float32)
    for context in contexts:
        together += chances(symbols, context, parents)
    return bits(together / np.float32(max(len(contexts), 1)))


def coarse(counts: NDArray[np.intp], parts: int = COARSE) -> NDArray[np.uint32]:
    """For each code the part it is in: neighbours together, about as many rows in each."""
    return ((np.cumsum(counts) - counts) * parts // max(int(counts.sum()), 1)).astype(np.uint32)
