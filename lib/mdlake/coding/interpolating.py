"""Integers of a smooth series foretold from both sides: first far apart, then halfway between, and so on down.

Cubic where two neighbours on each side are known, else linear, after Zhao et al., "Optimizing Error-Bounded Lossy
Compression for Scientific Data by Dynamic Spline Interpolation" (ICDE 2021), in integers: the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


def levels(count: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """(stride, places): the places after 0 in the order in which they are foretold, the farthest apart first."""
    for level in reversed(range(max(count - 1, 0).bit_length())):
        yield 1 << level, np.arange(1 << level, count, 2 << level)


def foretold(values: Numbers, stride: int, places: NDArray[np.intp]) -> Numbers:
    """int64 [places], from the values at even multiples of the stride, modulo 2^64."""
    last = len(values) - 1
    near, after = values[places - stride], values[np.minimum(places + stride, last)]
    far, beyond = values[np.maximum(places - 3 * stride, 0)], values[np.minimum(places + 3 * stride, last)]
    behind, ahead = places >= 3 * stride, places + stride <= last
    cubic = (9 * (near + after) - far - beyond + 8) >> 4
    linear = (near + after + 1) >> 1
    onward = np.where(behind, (3 * near - far + 1) >> 1, near)
    return np.where(ahead, np.where(behind & (places + 3 * stride <= last), cubic, linear), onward)
