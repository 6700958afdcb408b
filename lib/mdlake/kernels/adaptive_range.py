"""Symbols as paths through a binary tree, each fork coded with the adaptive model of its node.

This is where the range coder (`range_coder`) and the model (`adaptive_bits`) meet. Each context has a
tree of 2**depth nodes; the context of a symbol is the high bits of the one before it.
"""

import numpy as np
from numba import njit, uint64

from mdlake.kernels.adaptive_bits import learn, predict
from mdlake.kernels.range_coder import byte_at, finish, settled, split

# numba's cache knows a kernel by the bytes of its own file, not of those whose functions it compiles in.
# This digest of theirs changes when they do, and then the cache is fresh; tests/test_kernels.py checks it.
COMPILED_IN = "f3fd7fedb621230c"


@njit(cache=True, nogil=True)
def encode_symbols(symbols, depth, context_shift, nodes, rates, data):
    """Writes the stream into data; returns its size. data must hold 3 bytes a fork and 8 more."""
    low, high = uint64(0), uint64(0xFFFFFFFFFFFFFFFF)
    position = 0
    previous = np.int64(0)
    for i in range(symbols.size):
        symbol = np.int64(symbols[i])
        base = (previous >> context_shift) << depth
        path = np.int64(1)
        for level in range(depth - 1, -1, -1):
            bit = (symbol >> level) & 1
            node = nodes[base + path]
            probability = predict(node)
            middle = split(low, high, probability)
            if bit:
                high = middle
            else:
                low = middle + uint64(1)
            nodes[base + path] = learn(node, probability, bit, rates)
            path = (path << 1) | bit
            while settled(low, high):
                data[position] = np.uint8(high >> uint64(56))
                position += 1
                low, high = low << uint64(8), (high << uint64(8)) | uint64(0xFF)
        previous = symbol
    return finish(low, high, data, position)


@njit(cache=True, nogil=True)
def decode_symbols(data, depth, context_shift, nodes, rates, symbols, ending):
    """Fills symbols. Returns how many bytes are settled; `ending` gets what the encoder would end with
    after them, its first byte the number of those that follow."""
    low, high = uint64(0), uint64(0xFFFFFFFFFFFFFFFF)
    code = uint64(0)
    for position in range(8):
        code = (code << uint64(8)) | byte_at(data, position)
    position = 8
    previous = np.int64(0)
    for i in range(symbols.size):
        base = (previous >> context_shift) << depth
        path = np.int64(1)
        for _ in range(depth):
            node = nodes[base + path]
            probability = predict(node)
            middle = split(low, high, probability)
            bit = np.int64(code <= middle)
            if bit:
                high = middle
            else:
                low = middle + uint64(1)
            nodes[base + path] = learn(node, probability, bit, rates)
            path = (path << 1) | bit
            while settled(low, high):
                low, high = low << uint64(8), (high << uint64(8)) | uint64(0xFF)
                code = (code << uint64(8)) | byte_at(data, position)
                position += 1
        previous = path - (np.int64(1) << depth)
        symbols[i] = previous
    ending[0] = finish(low, high, ending, 1) - 1
    return position - 8
