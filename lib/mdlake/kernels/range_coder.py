"""Binary arithmetic coding: an interval of 64-bit numbers that narrows with each bit.

The interval is [low, high], both ends included. A bit of probability p (of it being 1, in 1 / 2**16)
splits it; bytes on which both ends agree are final and move out. No carry can happen. When the ends
straddle a byte boundary the interval may get narrow for a while, at 64 bits without measurable loss; it never gets
empty, for ends that have not settled are two numbers at least, and each bit gets one of them.
Rissanen and Langdon, "Arithmetic coding", 1979; the carry-less form follows Mahoney's paq.

These functions know probabilities only; a model (`adaptive_bits`) says what they are.
"""

import numpy as np
from numba import int64, njit, uint64

ONE = 1 << 16  # probabilities lie strictly between 0 and ONE
TOP = 56  # the shift of the first byte


@njit(cache=True, nogil=True)
def split(low, high, probability):
    """The last number that means 1: the lower part of the interval means 1, the upper 0."""
    return low + ((high - low) >> uint64(16)) * uint64(probability)


@njit(cache=True, nogil=True)
def settled(low, high):
    """Whether both ends agree on the first byte."""
    return (low ^ high) >> uint64(TOP) == uint64(0)


@njit(cache=True, nogil=True)
def byte_at(data, position):
    """Behind its end a stream goes on with zeros."""
    return uint64(data[position]) if position < data.size else uint64(0)


@njit(inline="always")
def code_bit(decoding, bit, probability, low, high, code, position, coming, going):
    """One decision, read from `coming` or written to `going`: its bit, and the coder's new state."""
    middle = split(low, high, probability)
    if decoding:
        bit = int64(code <= middle)
    if bit:
        high = middle
    else:
        low = middle + uint64(1)
    while settled(low, high):
        if decoding:
            code = (code << uint64(8)) | byte_at(coming, position)
        else:
            going[position] = np.uint8(high >> uint64(TOP))
        position += 1
        low, high = low << uint64(8), (high << uint64(8)) | uint64(0xFF)
    return bit, low, high, code, position


@njit(cache=True, nogil=True)
def first_code(decoding, coming):
    """The first eight bytes, and where the next is; nothing when encoding."""
    code, position = uint64(0), 0
    if decoding:
        for position in range(8):
            code = (code << uint64(8)) | byte_at(coming, position)
        position = 8
    return code, position


@njit(cache=True, nogil=True)
def finish(low, high, data, position):
    """Writes the shortest bytes that, followed by zeros, lie in the interval; returns the next position."""
    if low == uint64(0):
        return position
    for shift in range(TOP, -1, -8):
        number = (((low - uint64(1)) >> uint64(shift)) + uint64(1)) << uint64(shift)
        if low <= number <= high:  # low rounded up; 0 if that is too far
            for k in range(TOP, shift - 1, -8):
                data[position] = np.uint8(number >> uint64(k))
                position += 1
            return position
    return position
