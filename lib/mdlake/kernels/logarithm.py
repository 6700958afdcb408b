"""The binary logarithm, to the last bit the same on every machine: those of libraries differ, and choices depend on it.

Additions, multiplications and divisions of IEEE 754 only. The error is below 2e-11.
"""

import math

from numba import njit

SMALL, LARGE = 2.0**-500, 2.0**500


@njit(cache=True, nogil=True)
def log2_of(value):
    """Of a positive number; 0 and less give -1100, below every other."""
    if not value > 0.0:
        return -1100.0
    mantissa, exponent = math.frexp(value)  # mantissa in [1/2, 1)
    if mantissa < 0.7071067811865476:
        mantissa *= 2.0
        exponent -= 1
    t = (mantissa - 1.0) / (mantissa + 1.0)  # the series of artanh
    s = t * t
    series = 1.0 + s * (1 / 3 + s * (1 / 5 + s * (1 / 7 + s * (1 / 9 + s * (1 / 11 + s / 13)))))
    return exponent + 2.8853900817779268 * t * series


@njit(cache=True, nogil=True)
def fill(values, found):
    for i in range(values.size):
        found[i] = log2_of(values[i])


@njit(cache=True, nogil=True)
def total(values):
    """The sum of the logarithms of numbers between SMALL and LARGE, or 0: that of their product, whose exponent is
    taken out before it gets too small."""
    bits, product = 0.0, 1.0
    for i in range(values.size):
        if values[i] > 0.0:
            product *= values[i]
            if not SMALL < product < LARGE:
                product, exponent = math.frexp(product)
                bits += exponent
        else:
            bits += log2_of(0.0)
    return bits + log2_of(product)


@njit(cache=True, nogil=True)
def power(base, exponent):
    """By squaring: the same on every machine."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base, exponent = base * base, exponent >> 1
    return result
