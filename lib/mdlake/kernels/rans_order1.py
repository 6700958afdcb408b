"""Static rANS of order 1: the loops of `mdlake.coding.rans_order1`.

States and words are those of `kernels.rans`; here a lane has a stretch of its own, so that each symbol's context, the
symbol before it, is known when it is decoded. Bonfield, "CRAM 3.1" (Bioinformatics, 2022), section 2.1.
"""

import numpy as np
from numba import njit, uint16, uint32, uint64

from mdlake.kernels.histogram import quantize
from mdlake.kernels.rans import START

# numba's cache knows a kernel by the bytes of its own file, not of those whose functions it compiles in.
# This digest of theirs changes when they do, and then the cache is fresh; tests/test_kernels.py checks it.
COMPILED_IN = "56a17a5b0e0689b9"


@njit(cache=True, nogil=True)
def log2(value):
    """In 1/256, piecewise linear, in integers: the same on every machine."""
    length = 0
    while value >> (length + 1):
        length += 1
    return (length << 8) + ((value << 8) >> length) - 256


@njit(cache=True, nogil=True)
def fit(ends, symbols, counts, shared, alphabet, most, bits, frequencies):
    """Gives each context a table of its own where that is clearly shorter, table and all, than the shared one.

    Context i has the pairs up to `ends[i]`; shared[symbol] is the cost of a symbol in the shared table, in 1/256 bit.
    Fills bits[i], -1 for those that share, and the frequencies (int64) of the others.
    """
    start = 0
    for i in range(ends.size):
        end = ends[i]
        distinct = end - start
        total = counts[start:end].sum()
        width = 0
        while (1 << width) < distinct or ((1 << width) < total and width < most and distinct > 1):
            width += 1
        quantize(counts[start:end], width, frequencies[start:end])
        own = 256 * 12 + distinct * (log2(alphabet) - log2(distinct) + 512)
        other = 0
        for pair in range(start, end):
            size = log2(frequencies[pair])
            own += counts[pair] * ((width << 8) - size) + 2 * size + 256
            other += counts[pair] * shared[symbols[pair]]
        bits[i] = width if 33 * own < 32 * other else -1  # a little is not worth the cache it takes
        start = end


@njit(cache=True, nogil=True)
def encode(pairs, length, bits, frequencies, firsts, states, words, sizes):
    """Encodes each lane's stretch of `length` symbols backwards; a lane's words end where its part of `words` does.

    Pair p of a context and a symbol has frequencies[p] slots from firsts[p] on, of 2**bits[p].
    """
    for lane in range(states.size):
        state = uint64(START)
        place = (lane + 1) * length - 1
        for i in range(min((lane + 1) * length, pairs.size) - 1, lane * length - 1, -1):
            pair = pairs[i]
            frequency = uint64(frequencies[pair])
            width = uint64(bits[pair])
            if (state >> (uint64(32) - width)) >= frequency:
                words[place] = uint16(state & uint64(0xFFFF))
                place -= 1
                state >>= uint64(16)
            quotient = state // frequency
            state = (quotient << width) + (state - quotient * frequency) + uint64(firsts[pair])
        states[lane] = uint32(state)
        sizes[lane] = (lane + 1) * length - 1 - place


@njit(cache=True, nogil=True)
def decode(words, positions, states, table, starts, bits, length, symbols):
    """Fills `symbols`. A lane reads at most one word a symbol; the first context of each is 0.

    The table of context c has 2**bits[c] entries, as in `kernels.rans`, from starts[c] on.
    """
    contexts = np.zeros(states.size, np.int64)
    for step in range(length):
        for lane in range(states.size):
            at = lane * length + step
            if at >= symbols.size:
                break
            context = contexts[lane]
            width = uint32(bits[context])
            state = states[lane]
            entry = table[starts[context] + np.int64(state & ((uint32(1) << width) - uint32(1)))]
            cell = uint32(entry & uint64(0xFFFFFFFF))
            state = ((cell >> uint32(16)) + uint32(1)) * (state >> width) + (cell & uint32(0xFFFF))
            if state < uint32(START):
                state = (state << uint32(16)) | uint32(words[positions[lane]])
                positions[lane] += 1
            states[lane] = state
            symbol = np.int64(entry >> uint64(32))
            symbols[at] = symbol
            contexts[lane] = symbol
