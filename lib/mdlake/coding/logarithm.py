"""Logarithms and powers whose last bit does not depend on the machine, for everything that choices are made by."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdlake.kernels import logarithm


def log2(values: ArrayLike) -> NDArray[np.float64]:
    """float64 of the same shape; of 0, a number below those of all others."""
    given = np.ascontiguousarray(values, np.float64)
    found = np.empty(given.size)
    logarithm.fill(given.ravel(), found)
    return found.reshape(np.shape(values))


def sum_of_log2(values: NDArray[np.floating]) -> float:
    return float(logarithm.total(values))


def entropy(shares: NDArray[np.floating]) -> float:
    """Bits a symbol, of symbols with these chances."""
    return float(-(shares * log2(shares)).sum(dtype=np.float64)) if len(shares) else 0.0


def power(base: float, exponent: int) -> float:
    """By squaring. The exponent is not negative."""
    return float(logarithm.power(base, exponent))
