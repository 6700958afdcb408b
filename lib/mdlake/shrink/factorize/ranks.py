"""How many factors to keep, told from singular values alone.

A rule takes the singular values in descending order, float64, and the matrix's shape, and returns a rank of
1 at least. The values may be those of the weights, or those of the outputs that the weights make of data
(`layers`): then energy is that of the outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mdlake.errors import InvalidArgumentError

RankRule = Callable[[np.ndarray, tuple[int, int]], int]


def by_energy(share: float) -> RankRule:
    """The fewest that keep this share of the sum of squares."""
    _check(share)

    def rule(values: np.ndarray, shape: tuple[int, int]) -> int:
        squares = np.cumsum(np.square(values))
        return 1 + int(np.searchsorted(squares, share * squares[-1] * (1 - 1e-12)))

    return rule


def by_weights(share: float) -> RankRule:
    """As many as fit into this share of the layer's weights."""
    _check(share)

    def rule(values: np.ndarray, shape: tuple[int, int]) -> int:
        return max(1, math.floor(share * shape[0] * shape[1] / sum(shape)))

    return rule


def by_description_length(values: np.ndarray, shape: tuple[int, int]) -> int:
    """The rank that describes the matrix in the fewest bits, as low-rank structure and independent noise.

    Two parts (Rissanen, Modeling by Shortest Data Description, 1978): half of log2(entries) for each free
    number of the factors, r (m + n - r) of them, and entries / 2 times log2 of the mean square left over.
    """
    entries, squares = shape[0] * shape[1], np.square(values)
    left = np.maximum(np.concatenate([np.cumsum(squares[::-1])[::-1][1:], [0.0]]), 1e-12 * max(squares.sum(), 1e-300))
    ranks = np.arange(1, len(values) + 1)
    free = ranks * (sum(shape) - ranks)
    usable = ranks * sum(shape) < entries  # beyond, two matrices are no smaller than one
    bits = free / 2 * math.log2(entries) + entries / 2 * np.log2(left / entries)
    return int(ranks[np.argmin(np.where(usable, bits, np.inf))]) if usable.any() else 1


def _check(share: float) -> None:
    if not 0 < share <= 1:
        raise InvalidArgumentError(f"the share to keep is above 0 and at most 1, not {share}")
