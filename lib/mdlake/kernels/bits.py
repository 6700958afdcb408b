"""Packing integers into bit fields, least significant bit first, without gaps.

Field i of width w occupies bits [i * w, (i + 1) * w) of the little-endian bit string.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def pack(values, width, out):
    """`values`: uint64[n] below 2^width, 1 <= width <= 56; `out`: uint8[ceil(n * width / 8)]."""
    bits = np.uint64(0)
    held = np.uint64(0)
    at = 0
    for value in values:
        bits |= value << held
        held += np.uint64(width)
        while held >= np.uint64(8):
            out[at] = np.uint8(bits & np.uint64(0xFF))
            bits >>= np.uint64(8)
            held -= np.uint64(8)
            at += 1
    if held > np.uint64(0):
        out[at] = np.uint8(bits & np.uint64(0xFF))


@njit(cache=True, nogil=True)
def unpack(data, width, out):
    """The inverse of `pack`: fills `out`, uint64[n], from uint8[ceil(n * width / 8)]."""
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    bits = np.uint64(0)
    held = np.uint64(0)
    at = 0
    for i in range(out.size):
        while held < np.uint64(width):
            bits |= np.uint64(data[at]) << held
            held += np.uint64(8)
            at += 1
        out[i] = bits & mask
        bits >>= np.uint64(width)
        held -= np.uint64(width)


@njit(cache=True, nogil=True)
def pack_fields(values, widths, out):
    """As `pack`, but field i has `widths[i]` bits (uint8, 0 to 64); returns the bytes written."""
    bits = np.uint64(0)
    held = np.uint64(0)
    at = 0
    for i in range(values.size):
        value = values[i]
        left = np.uint64(widths[i])
        while left > np.uint64(0):
            take = min(left, np.uint64(8) - held)
            bits |= (value & ((np.uint64(1) << take) - np.uint64(1))) << held
            value >>= take
            left -= take
            held += take
            if held == np.uint64(8):
                out[at] = np.uint8(bits)
                bits = np.uint64(0)
                held = np.uint64(0)
                at += 1
    if held > np.uint64(0):
        out[at] = np.uint8(bits)
        at += 1
    return at


@njit(cache=True, nogil=True)
def unpack_fields(data, widths, out):
    """The inverse of `pack_fields`; `data` holds at least `sum(widths)` bits."""
    at = 0
    held = np.uint64(0)
    for i in range(out.size):
        value = np.uint64(0)
        got = np.uint64(0)
        width = np.uint64(widths[i])
        while got < width:
            take = min(width - got, np.uint64(8) - held)
            part = (np.uint64(data[at]) >> held) & ((np.uint64(1) << take) - np.uint64(1))
            value |= part << got
            got += take
            held += take
            if held == np.uint64(8):
                held = np.uint64(0)
                at += 1
        out[i] = value
