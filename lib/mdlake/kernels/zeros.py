"""Zeros taken out of values, and put back: the loops of `mdlake.models.schemes.sparse`."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def take_out(bits, mask, values):
    """Into mask, uint8, 0 for a zero, 1 for a value, 2 for the highest bit alone; values, one longer than bits, get the
    values. Returns how many there are."""
    negative = bits.dtype.type(1) << bits.dtype.type(8 * bits.itemsize - 1)
    found = np.uint64(0)
    for i in range(bits.size):
        one = bits[i]
        there = np.uint8((one != 0) & (one != negative))
        mask[i] = there + np.uint8(2) * np.uint8(one == negative)
        values[found] = one
        found += there
    return np.int64(found)


@njit(cache=True, nogil=True)
def put_back(mask, values, bits):
    """The inverse; values are not empty, and have one for each 1 of the mask."""
    shift = bits.dtype.type(8 * bits.itemsize - 1)
    last = np.uint64(values.size - 1)
    at = np.uint64(0)
    for i in range(mask.size):
        there, negative = mask[i] & np.uint8(1), mask[i] >> np.uint8(1)
        bits[i] = values[min(at, last)] * bits.dtype.type(there) | bits.dtype.type(negative) << shift
        at += np.uint64(there)


@njit(cache=True, nogil=True)
def survey(mask):
    """How many are 1, and the highest."""
    ones, highest = np.int64(0), np.uint8(0)
    for i in range(mask.size):
        ones += mask[i] == 1
        highest = max(highest, mask[i])
    return ones, highest
