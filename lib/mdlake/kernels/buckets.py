"""Numbers as a bucket and extra bits: the bucket to be entropy-coded, the bits stored as they are.

Numbers below 16 are their own bucket; above, four buckets share a power of two, and the bits below the
leading three are extra. The largest number has 32 bits, the largest bucket is 127.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def split_buckets(values, buckets, data):
    """Fills buckets, writes extra bits into zeroed data (four bytes a value); returns their number."""
    position = 0
    for i in range(values.size):
        value = values[i]
        if value < 16:
            buckets[i] = value
            continue
        width = 2
        while value >> (width + 3) > 0:
            width += 1
        buckets[i] = 16 + (width - 2) * 4 + ((value >> width) & 3)
        for bit in range(width - 1, -1, -1):
            data[position >> 3] |= np.uint8(((value >> bit) & 1) << (7 - (position & 7)))
            position += 1
    return position


@njit(cache=True, nogil=True)
def join_buckets(buckets, data, values):
    """Fills values; returns the number of extra bits read, or -1 if data end before."""
    end = data.size * 8
    position = 0
    for i in range(buckets.size):
        bucket = np.int64(buckets[i])
        if bucket < 16:
            values[i] = bucket
            continue
        width = (bucket - 16) // 4 + 2
        if position + width > end:
            return -1
        value = 4 + (bucket & 3)
        for _ in range(width):
            value = (value << 1) | ((data[position >> 3] >> (7 - (position & 7))) & 1)
            position += 1
        values[i] = value
    return position
