"""Estimates of adaptive contexts: what a symbol's chance would be under each, and what several cost together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.logarithm import sum_of_log2
from mdlake.coding.mixing import PREVIOUS, Context
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
    if shares is None:
        found = np.empty(len(symbols), np.float32)
        prequential.frequencies(symbols, int(symbols.max()) + 1 if len(symbols) else 1, found)
    else:
        found = shares[symbols]
    if context:
        size = 1 << max(len(symbols) * 2 - 1, 1).bit_length()
        contexts, pairs = np.zeros((size, 3), np.uint32), np.zeros((size, 2), np.uint32)
        prequential.probabilities(symbols, _hashes(symbols, context, parents), contexts, pairs, found)
    return found


def _hashes(symbols: np.ndarray, context: Context, parents: NDArray[np.uint32] | None) -> NDArray[np.uint32]:
    """Of the context of each symbol."""
    hashes = np.full(len(symbols), 0x1B873593, np.uint32)
    for source, shift in context:
        if source >= PREVIOUS:
            assert parents is not None, "the context asks for columns that are not there"
            codes = parents[:, source - PREVIOUS]
        else:
            codes = np.zeros(len(symbols), np.uint32)
            np.add(symbols[: -1 - source], 1, out=codes[1 + source :], casting="unsafe")
        hashes = (hashes ^ (codes >> np.uint32(shift))) * np.uint32(0x9E3779B1)
        hashes ^= hashes >> np.uint32(15)
    return hashes


def bits(found: NDArray[np.floating]) -> float:
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
