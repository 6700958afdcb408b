"""Small integers as adaptive exponential-Golomb codes, most significant bit first.

The side information of the coders (frequency tables, code lengths, lane lengths) is a few hundred
integers, mostly small. Each is coded with the order k that suits the running mean of its kind;
kinds take turns: value i is of kind i % kinds. After Teuhola, "A compression method for clustered
bit-vectors", 1978.
"""

import numpy as np
from numba import njit

WIDEST = 32  # bits of the largest value


@njit(cache=True, nogil=True)
def bit_length(value):
    length = 0
    while value > 0:
        value >>= 1
        length += 1
    return length


@njit(cache=True, nogil=True)
def golomb_encode(values, kinds, buffer, position):
    """Writes values (int64, < 2**32) into the zeroed buffer from a bit position; returns the next one."""
    means = np.zeros(kinds, np.int64)
    for i in range(values.size):
        value = values[i]
        order = bit_length(means[i % kinds] >> 3)
        means[i % kinds] += value - (means[i % kinds] >> 2)
        stepped = (value >> order) + 1
        code = (stepped << order) | (value & ((1 << order) - 1))
        length = bit_length(stepped)
        position += length - 1
        for bit in range(length + order - 1, -1, -1):
            buffer[position >> 3] |= np.uint8(((code >> bit) & 1) << (7 - (position & 7)))
            position += 1
    return position


@njit(cache=True, nogil=True)
def golomb_decode(buffer, position, kinds, values):
    """Fills values from a bit position; returns the next one, -1 if the buffer ends, -2 if it cannot be."""
    end = buffer.size * 8
    means = np.zeros(kinds, np.int64)
    for i in range(values.size):
        order = bit_length(means[i % kinds] >> 3)
        length = 1
        while position < end and (buffer[position >> 3] >> (7 - (position & 7))) & 1 == 0:
            position += 1
            length += 1
        if position + length + order > end:
            return -1
        if length + order > WIDEST + 1:
            return -2
        code = np.int64(0)
        for _ in range(length + order):
            code = (code << 1) | ((buffer[position >> 3] >> (7 - (position & 7))) & 1)
            position += 1
        value = code - (np.int64(1) << order)
        values[i] = value
        means[i % kinds] += value - (means[i % kinds] >> 2)
    return position
