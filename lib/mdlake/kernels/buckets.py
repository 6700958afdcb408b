"""Integers as a bucket number and the bits within the bucket."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def split(values, direct, mantissa, buckets, extras, widths):
    """Values below 2^direct are their own bucket; above, a bucket is an exponent and `mantissa` leading bits.

    `values`, `extras`: uint64[n]; `buckets`: uint16[n]; `widths`: uint8[n]. Needs mantissa <= direct.
    """
    limit = np.uint64(1) << np.uint64(direct)
    for i in range(values.size):
        value = values[i]
        if value < limit:
            buckets[i] = np.uint16(value)
            extras[i] = np.uint64(0)
            widths[i] = np.uint8(0)
            continue
        exponent = np.uint64(0)
        rest = value
        while rest > np.uint64(1):
            rest >>= np.uint64(1)
            exponent += np.uint64(1)
        width = exponent - np.uint64(mantissa)
        leading = (value >> width) & ((np.uint64(1) << np.uint64(mantissa)) - np.uint64(1))
        buckets[i] = np.uint16(limit + ((exponent - np.uint64(direct)) << np.uint64(mantissa)) + leading)
        extras[i] = value & ((np.uint64(1) << width) - np.uint64(1))
        widths[i] = np.uint8(width)


@njit(cache=True, nogil=True)
def join(buckets, firsts, extras, out):
    """The inverse of `split`: `firsts[b]` is the smallest value of bucket b, uint64."""
    for i in range(out.size):
        out[i] = firsts[buckets[i]] + extras[i]
