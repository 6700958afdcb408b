"""Huffman codes: optimal lengths under a limit, canonical codes, and coding over lanes.

Lengths come from package-merge (Larmore and Hirschberg, "A fast algorithm for optimal length-limited
Huffman codes", 1990). Codes are canonical (Schwartz and Kallick, 1964): ascending by length, then by
symbol, so that the lengths say it all. Frequent symbols get short codes.

Symbol i belongs to lane i % lanes; each lane has a bit stream of its own, most significant bit first,
so that the lanes of one step do not wait for each other.
"""

import numpy as np
from numba import njit, uint16, uint32, uint64


@njit(cache=True, nogil=True)
def package_merge(weights, limit, lengths):
    """Optimal code lengths <= limit for ascending weights (int64, two or more, at most 2**limit).

    Level by level, the cheapest pairs of the level below become packages and are merged with the
    weights. Of the last level the 2n - 2 cheapest items are taken; a weight's length is how often it
    is among the items taken, on all levels.
    """
    count = weights.size
    is_weight = np.ones((limit, 2 * count), np.bool_)
    below = weights.copy()
    for level in range(1, limit):
        pairs = below.size // 2
        merged = np.empty(count + pairs, np.int64)
        weight, pair = 0, 0
        for k in range(merged.size):
            package = below[2 * pair] + below[2 * pair + 1] if pair < pairs else np.int64(0)
            if pair == pairs or (weight < count and weights[weight] <= package):
                merged[k] = weights[weight]
                weight += 1
            else:
                merged[k] = package
                is_weight[level, k] = False
                pair += 1
        below = merged
    lengths[:] = 0
    taken = 2 * count - 2
    for level in range(limit - 1, -1, -1):
        chosen = 0
        for k in range(taken):
            chosen += is_weight[level, k]
        for k in range(chosen):
            lengths[k] += 1
        taken = 2 * (taken - chosen)


@njit(cache=True, nogil=True)
def canonical_codes(symbols, lengths, longest, codes, table):
    """codes[symbol] = code << 4 | length; table[the next `longest` bits] = symbol << 4 | length.

    The lengths must satisfy Kraft's equality: then the table is filled exactly.
    """
    code = 0
    for length in range(1, longest + 1):
        spare = longest - length
        for i in range(symbols.size):
            if lengths[i] == length:
                codes[symbols[i]] = ((code >> spare) << 4) | length
                for slot in range(code, code + (1 << spare)):
                    table[slot] = (symbols[i] << 4) | length
                code += 1 << spare


@njit(cache=True, nogil=True)
def encode(symbols, codes, starts, words, bits):
    """Writes lane l into words (uint32) from starts[l]; bits[l] gets its size in bits."""
    lanes = starts.size
    for lane in range(lanes):
        position = uint64(starts[lane])
        held, size = uint64(0), uint64(0)
        for i in range(lane, symbols.size, lanes):
            code = codes[symbols[i]]
            length = uint64(code & uint32(15))
            held = (held << length) | uint64(code >> uint32(4))
            size += length
            words[position] = uint32((held << (uint64(64) - size)) >> uint64(32))
            position += size >> uint64(5)
            size &= uint64(31)
        if size > uint64(0):
            words[position] = uint32((held << (uint64(64) - size)) >> uint64(32))
        bits[lane] = (position - uint64(starts[lane])) * uint64(32) + size


@njit(cache=True, nogil=True)
def decode(windows, positions, table, longest, symbols):
    """Fills symbols; positions (in bits) are the lanes' starts and become their ends.

    windows[k] are the 64 bits from bit 32 k. A lane reads `longest` bits a symbol at most.
    """
    lanes = positions.size
    shift = uint64(64 - longest)
    whole = symbols.size - symbols.size % lanes
    for step in range(0, whole, lanes):
        for lane in range(lanes):
            position = positions[lane]
            entry = table[(windows[position >> uint64(5)] << (position & uint64(31))) >> shift]
            positions[lane] = position + uint64(entry & uint16(15))
            symbols[step + lane] = entry >> uint16(4)
    for lane in range(symbols.size - whole):
        position = positions[lane]
        entry = table[(windows[position >> uint64(5)] << (position & uint64(31))) >> shift]
        positions[lane] = position + uint64(entry & uint16(15))
        symbols[whole + lane] = entry >> uint16(4)
