"""A series that stays where it is for as long as that is near enough: the fewest steps a greedy choice can make."""

import numpy as np
from numba import njit

FARTHEST = 9.0e15


@njit(cache=True, nogil=True)
def hold(values, limit, step, integers):
    """Fills integers, int64, so that integers x step is within `limit` of values, float64, changing seldom.

    Where a value is not finite or too far, the integer before stays.
    """
    integer = 0
    for i in range(values.size):
        if not abs(values[i] - integer * step) <= limit:
            nearest = np.rint(values[i] / step)
            if -FARTHEST < nearest < FARTHEST:
                integer = int(nearest)
        integers[i] = integer
