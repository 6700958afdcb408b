"""How short an adaptive code would be, without making it: each symbol is predicted from those before it.

For each context, counts with escape to the counts of all symbols (Cleary and Witten's PPM, method C, one level).
"""

import numpy as np
from numba import int64, njit, uint32


@njit(cache=True, nogil=True)
def frequencies(symbols, size, chances):
    """Fills chances[i], float32: what the counts of all symbols before, below `size`, give to symbols[i]."""
    everywhere = np.zeros(size, np.float32)
    seen, novel, uniform = np.float32(0), np.float32(0.5), np.float32(1) / np.float32(size)
    for i in range(symbols.size):
        symbol = int64(symbols[i])
        chances[i] = (everywhere[symbol] + novel * uniform) / (seen + novel)
        if everywhere[symbol] == 0:
            novel += np.float32(1)
        everywhere[symbol] += np.float32(1)
        seen += np.float32(1)


@njit(cache=True, nogil=True)
def probabilities(symbols, hashes, contexts, pairs, chances):
    """Improves chances[i], float32: what is expected of symbols[i] without a context becomes what its context gives.

    hashes: uint32, of each symbol's context. The tables are zeros, uint32. contexts [2**n, 3]: whose the place is, how
    many symbols came, how many kinds of them. pairs [2**n, 2]: whose, how many. A context or a pair that comes upon
    another's place takes it and starts anew, for counts that two share would promise too much.
    """
    mask, pair_mask = uint32(contexts.shape[0] - 1), uint32(pairs.shape[0] - 1)
    for i in range(symbols.size):
        at = hashes[i] & mask
        known = int64(contexts[at, 0] == hashes[i])
        total, kinds = int64(contexts[at, 1]) * known, int64(contexts[at, 2]) * known
        mixed = uint32(uint32(hashes[i] ^ uint32(int64(symbols[i]) * 0x85EBCA6B)) * uint32(0xC2B2AE35))
        mixed = uint32(mixed ^ (mixed >> uint32(15)))
        pair = mixed & pair_mask
        count = int64(pairs[pair, 1]) * int64(pairs[pair, 0] == mixed)
        escape = np.float32(kinds) + np.float32(0.5)
        if total > 0:
            chances[i] = (np.float32(min(count, total)) + escape * chances[i]) / (np.float32(total) + escape)
        contexts[at, 0], contexts[at, 1], contexts[at, 2] = hashes[i], total + 1, kinds + int64(count == 0)
        pairs[pair, 0], pairs[pair, 1] = mixed, count + 1
