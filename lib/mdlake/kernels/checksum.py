"""CRC-32 of much data: the part of the division that needs no table.

The checksum of a message is the remainder of a polynomial, so whatever a multiple of the divisor says may be taken from
one place and added to others. x^300 + x^155 + x^117 + x^89 + 1 is such a multiple; so is its square, and the square of
that: with y = x^128, y^300 + y^155 + y^117 + y^89 + 1. So 16 bytes may be left out if they are added (exclusive or) to
the bytes 145, 183, 211 and 300 places of 16 bytes further on. In the end 300 places are left. After Russell, "Chorba: a
novel CRC32 implementation", 2024.
"""

import numpy as np
from numba import njit

WINDOW = 600
"""Words of 8 bytes that are left in the end."""
NEAREST, SECOND, THIRD = 290, 366, 422
_RUNS = 8


@njit(cache=True, nogil=True)
def fold(words, first, window):
    """Fills `window`, uint64 [WINDOW], with what has the remainder of `words`, `first` added to the first of them.

    words: uint64, at least WINDOW.
    """
    work = np.zeros(WINDOW + _RUNS * NEAREST, np.uint64)
    end = words.size - WINDOW
    at = 0
    while at < end:
        filled = 0
        while filled < _RUNS * NEAREST and at < end:
            size = min(NEAREST, end - at)
            low = WINDOW + filled
            into, new = work[low : low + size], words[at : at + size]
            a, b = work[low - NEAREST : low - NEAREST + size], work[low - SECOND : low - SECOND + size]
            c, d = work[low - THIRD : low - THIRD + size], work[low - WINDOW : low - WINDOW + size]
            for i in range(size):
                into[i] = new[i] ^ a[i] ^ b[i] ^ c[i] ^ d[i]
            if at == 0:
                into[0] ^= first
            at += size
            filled += size
        for i in range(WINDOW):
            work[i] = work[filled + i]
    for i in range(WINDOW):
        value = words[end + i]
        if end + i == 0:
            value ^= first
        for distance in (NEAREST, SECOND, THIRD, WINDOW):
            if distance > i:
                value ^= work[WINDOW + i - distance]
        window[i] = value
