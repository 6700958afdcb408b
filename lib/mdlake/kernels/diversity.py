"""How often each distinct value occurs, and what that says of how many bits a value needs."""

import numpy as np
from numba import int64, njit, uint64

from mdlake.kernels.logarithm import log2_of, power

COMPILED_IN = "7e9697172baf5bbe"


@njit(cache=True, nogil=True)
def count_hashed(values, shift, keys, counts):
    """Adds uint64 values to counts, each at its place among the keys: zeros, 2**(64 - shift) and more than values."""
    mask = uint64(keys.size - 1)
    for i in range(values.size):
        at = uint64(values[i] * uint64(0x9E3779B97F4A7C15)) >> uint64(shift)
        while counts[at] and keys[at] != values[i]:
            at = (at + uint64(1)) & mask
        keys[at] = values[i]
        counts[at] += 1


@njit(cache=True, nogil=True)
def entropies(occurrences, total, covered):
    """Bits a value, of `total` values that occur so often: as they are, and as Chao and Shen expect of all that these
    are a sample of, where the values that occur are `covered` of all."""
    most = int64(0)
    for i in range(occurrences.size):
        most = max(most, occurrences[i])
    seen = np.zeros(most + 1, np.int64)
    for i in range(occurrences.size):
        seen[occurrences[i]] += 1
    plain, full = 0.0, 0.0
    for times in range(1, seen.size):
        if seen[times]:
            share = times / total
            plain -= seen[times] * share * log2_of(share)
            share *= covered
            full -= seen[times] * share * log2_of(share) / (1.0 - power(1.0 - share, total))
    return plain, full
