"""Rounding weights to levels that cost few bits, each rounding made up for by the weights that follow.

A level costs as many bits as its share of all levels says; `counts` holds how often each occurs, the level
0 in the middle, and follows every choice.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_PRIOR = 0.5  # a level that has not occurred is dear, but not barred


@njit(cache=True, nogil=True)
def cheapest(value, worth, price, counts, total):
    """The level for a value in units of the scale: of the nearest, the next towards 0, and 0.

    worth: what an error of one unit costs, squared; price: what a bit costs.
    """
    top = counts.size // 2
    nearest = int(np.rint(min(max(value, -top), top)))
    if price == 0.0:
        return nearest
    best, least = 0, np.inf
    for candidate in (nearest, nearest - (nearest > 0) + (nearest < 0), 0):
        bits = np.log2((total + _PRIOR * counts.size) / (counts[candidate + top] + _PRIOR))
        cost = worth * (value - candidate) ** 2 + price * bits
        if cost < least:
            best, least = candidate, cost
    return best


@njit(cache=True, nogil=True)
def round_columns(weights, factor, scales, importance, price, counts, levels):
    """Fills levels, int [outputs, inputs], column after column; weights, of that shape, are used up.

    factor: float [inputs, inputs], upper, of the inverse Hessian; an error in column j moves the columns after
    it by row j of it. scales, importance: [outputs]; levels come in as what `counts` has counted.
    """
    top, total = counts.size // 2, counts.sum()
    for j in range(weights.shape[1]):
        for i in range(weights.shape[0]):
            scale = scales[i]
            worth = importance[i] * (scale / factor[j, j]) ** 2
            counts[levels[i, j] + top] -= 1
            level = cheapest(weights[i, j] / scale, worth, price, counts, total)
            counts[level + top] += 1
            levels[i, j] = level
            error = (weights[i, j] - level * scale) / factor[j, j]
            for k in range(j + 1, weights.shape[1]):
                weights[i, k] -= error * factor[j, k]


@njit(cache=True, nogil=True)
def cheapest_each(values, worths, price, counts, levels):
    """One sweep over levels that do not depend on each other; returns how many changed."""
    top, total, changed = counts.size // 2, counts.sum(), 0
    for i in range(levels.size):
        counts[levels[i] + top] -= 1
        level = cheapest(values[i], worths[i], price, counts, total)
        counts[level + top] += 1
        changed += level != levels[i]
        levels[i] = level
    return changed
