"""How short an adaptive code would be, without making it: each symbol is predicted from those before it.

For each context, counts with escape to the counts of all symbols (Cleary and Witten's PPM, method C, one level).
"""

import numpy as np
from numba import int64, njit, uint32

from mdlake.kernels.mixing import context_hash

COMPILED_IN = "947851516c0e1f3e"


@njit(cache=True, nogil=True)
def probabilities(symbols, shares, parents, sources, shifts, owners, totals, kinds, pairs, chances):
    """Fills chances[i], float32: what one context gives to symbols[i].

    shares: float32, how frequent each symbol is, if that is known (their sum is 1); else zeros, and it is learned.

    The tables are zeros, 2**n of them; `owners` [2, 2**n], uint32, knows whose a place is: a context or a pair that
    comes upon another's takes it and starts anew, for counts that two share would promise too much.
    """
    mask, pair_mask = uint32(totals.size - 1), uint32(pairs.size - 1)
    row = np.zeros(2 + parents.shape[1], np.uint32)
    everywhere = np.zeros(shares.size, np.float32)
    seen, novel = np.float32(0), np.float32(0.5)
    learning = shares.sum() == 0
    for i in range(symbols.size):
        for j in range(parents.shape[1]):
            row[2 + j] = parents[i, j]
        hash_ = context_hash(0, sources, shifts, row)
        at = hash_ & mask
        if owners[0, at] != hash_:
            owners[0, at], totals[at], kinds[at] = hash_, 0, 0
        symbol = int64(symbols[i])
        mixed = uint32(uint32(hash_ ^ uint32(symbol * 0x85EBCA6B)) * uint32(0xC2B2AE35))
        mixed = uint32(mixed ^ (mixed >> uint32(15)))
        pair = mixed & pair_mask
        if owners[1, pair] != mixed:
            owners[1, pair], pairs[pair] = mixed, 0
        base = shares[symbol]
        if learning:
            base = (everywhere[symbol] + novel / np.float32(shares.size)) / (seen + novel)
        if totals[at] > 0 and sources[0] >= 0:
            escape = kinds[at] + np.float32(0.5)
            chances[i] = (min(pairs[pair], totals[at]) + escape * base) / (totals[at] + escape)
        else:
            chances[i] = base
        if pairs[pair] == 0:
            kinds[at] += np.float32(1)
        if everywhere[symbol] == 0:
            novel += np.float32(1)
        pairs[pair] += np.float32(1)
        totals[at] += np.float32(1)
        everywhere[symbol] += np.float32(1)
        seen += np.float32(1)
        row[1] = row[0]
        row[0] = uint32(symbol + 1)
