"""The adaptive model of one bit, kept in 64 bits, in integer arithmetic.

Two counters estimate the probability of a 1. The slow one averages all it has seen, ever more
slowly, and is right where nothing changes; the fast one forgets within some 16 bits. They are mixed
with a weight that follows, by gradient, whichever has predicted better. Mahoney, "Adaptive weighing of
context models", 2005, reduced to two inputs and no logarithms.

    bits 0-11   how often seen (it stops at LIMIT)
    bits 12-33  slow estimate, 22 bits
    bits 34-49  fast estimate, 16 bits
    bits 50-63  weight of the fast one, 14 bits
"""

import numpy as np
from numba import int64, njit, uint64

LIMIT = 4095
FAST_SHIFT = 4
WEIGHT_SHIFT = 22
FRESH = (1 << 12 << 50) | (1 << 15 << 34) | (1 << 21 << 12)  # both one half; the fast one weighs 1/4


@njit(cache=True, nogil=True)
def fill_rates(rates):
    """rates[n] = 2**20 / (n + 1.5): the step of the slow counter after n bits."""
    for n in range(rates.size):
        rates[n] = (1 << 21) // (2 * n + 3)


@njit(cache=True, nogil=True)
def predict(node):
    """The probability of a 1 in 1 / 2**16, never 0 and never 2**16."""
    slow = int64((node >> uint64(18)) & uint64(0xFFFF))
    fast = int64((node >> uint64(34)) & uint64(0xFFFF))
    mixed = slow + (((fast - slow) * int64(node >> uint64(50))) >> 14)
    return min(max(mixed, 2), (1 << 16) - 2)


@njit(cache=True, nogil=True)
def learn(node, probability, bit, rates):
    """The node after it predicted `probability` and saw `bit`."""
    seen = int64(node & uint64(LIMIT))
    slow = int64((node >> uint64(12)) & uint64((1 << 22) - 1))
    fast = int64((node >> uint64(34)) & uint64(0xFFFF))
    weight = int64(node >> uint64(50))
    error = bit * ((1 << 16) - 1) - probability
    weight += (error * (fast - (slow >> 6))) >> WEIGHT_SHIFT
    weight = min(max(weight, 0), (1 << 14) - 1)
    slow += ((bit * ((1 << 22) - 1) - slow) * int64(rates[seen])) >> 20
    fast += (bit * ((1 << 16) - 1) - fast) >> FAST_SHIFT
    seen = min(seen + 1, LIMIT)
    return uint64(seen | (slow << 12)) | (uint64(fast) << uint64(34)) | (uint64(weight) << uint64(50))


@njit(cache=True, nogil=True)
def fill_fresh(nodes):
    for i in range(nodes.size):
        nodes[i] = np.uint64(FRESH)
