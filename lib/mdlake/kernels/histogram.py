"""Counting symbols and turning counts into integer frequencies that sum to a power of two.

Everything is integer arithmetic, so that every machine finds the same table for the same counts.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def count_symbols(symbols, counts):
    """Adds the symbols to counts (uint32, four rows, so that equal neighbours do not wait for each other)."""
    whole = symbols.size - symbols.size % 4
    for i in range(0, whole, 4):
        counts[0, symbols[i]] += np.uint32(1)
        counts[1, symbols[i + 1]] += np.uint32(1)
        counts[2, symbols[i + 2]] += np.uint32(1)
        counts[3, symbols[i + 3]] += np.uint32(1)
    for i in range(whole, symbols.size):
        counts[0, symbols[i]] += np.uint32(1)


@njit(cache=True, nogil=True)
def quantize(counts, bits, frequencies):
    """Scales counts (int64, all >= 1, at most 2**bits of them) to frequencies >= 1 with sum 2**bits.

    Symbols rarer than one slot get one; the others share the rest in proportion, rounded. What the
    rounding leaves over goes, slot by slot, where it costs least: taking a slot from a symbol costs
    c * log2(f / (f - 1)), which is close to c / (f - 1/2), and giving one gains c / (f + 1/2).
    """
    slots = np.int64(1) << bits
    total = counts.sum()
    budget = slots
    rest = total
    for i in range(counts.size):
        if counts[i] * slots < total:
            budget -= 1
            rest -= counts[i]
    left = slots
    for i in range(counts.size):
        share = 1
        if counts[i] * slots >= total:
            share = max(1, (2 * counts[i] * budget + rest) // (2 * rest))
        frequencies[i] = share
        left -= share
    while left != 0:
        sign = 1 if left > 0 else -1
        best = -1
        best_count = np.int64(0)
        best_width = np.int64(1)
        for i in range(counts.size):
            width = 2 * frequencies[i] + sign
            if width == 1:
                continue  # the last slot of a symbol is never taken
            gain = sign * (counts[i] * best_width - best_count * width)
            if best < 0 or gain > 0:
                best, best_count, best_width = i, counts[i], width
        frequencies[best] += sign
        left -= sign
