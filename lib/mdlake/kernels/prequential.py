"""How short an adaptive code would be, without making it: each symbol is predicted from those before it.

For each context, counts with escape to the counts of all symbols (Cleary and Witten's PPM, method C, one level).
"""

import numpy as np
from numba import int64, njit, uint32

from mdlake.kernels.mixing import context_hash

COMPILED_IN = "947851516c0e1f3e"


@njit(cache=True, nogil=True)
def probabilities(symbols, alphabet, parents, sources, shifts, context, totals, kinds, pairs, chances):
    """Fills chances[i], float32: what one context gives to symbols[i]. The tables are zeros, 2**n of them."""
    mask, pair_mask = uint32(totals.size - 1), uint32(pairs.size - 1)
    row = np.zeros(2 + parents.shape[1], np.uint32)
    everywhere = np.zeros(alphabet, np.float32)
    seen, novel = np.float32(0), np.float32(0.5)
    for i in range(symbols.size):
        for j in range(parents.shape[1]):
            row[2 + j] = parents[i, j]
        hash_ = context_hash(context, sources, shifts, row)
        at = hash_ & mask
        symbol = int64(symbols[i])
        mixed = uint32(uint32(hash_ ^ uint32(symbol * 0x85EBCA6B)) * uint32(0xC2B2AE35))
        pair = (mixed ^ (mixed >> uint32(15))) & pair_mask
        base = (everywhere[symbol] + novel / np.float32(alphabet)) / (seen + novel)
        if totals[at] > 0:
            escape = kinds[at] + np.float32(0.5)
            chances[i] = (pairs[pair] + escape * base) / (totals[at] + escape)
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
