"""Clusters of histograms: keys whose symbols are distributed alike share one table.

Counts are sparse: key p has symbols[starts[p]:starts[p + 1]], each as often as counts says.
"""

import numpy as np
from numba import int64, njit

from mdlake.kernels.logarithm import log2_of

COMPILED_IN = "7e9697172baf5bbe"

BACKOFF = 16.0
"""So many symbols of the whole are added to every cluster, for those it has not seen."""
TABLE_BITS, ENTRY_BITS = 160.0, 9.0
"""What a cluster takes: a stream of its own, and each symbol in its table."""


@njit(cache=True, nogil=True)
def gather(starts, symbols, counts, clusters, tables, members):
    """Fills tables[cluster, symbol] with the counts of the keys in each cluster, members[cluster] with their number."""
    tables[:] = 0
    members[:] = 0
    for p in range(starts.size - 1):
        members[clusters[p]] += 1
        for i in range(starts[p], starts[p + 1]):
            tables[clusters[p], symbols[i]] += counts[i]


@njit(cache=True, nogil=True)
def assign(starts, symbols, counts, tables, members, prices, clusters):
    """Puts each key into the cluster that codes its symbols, and itself, in the fewest bits. prices: float32 work
    space."""
    total, whole = 0.0, np.zeros(tables.shape[1])
    for c in range(tables.shape[0]):
        total += tables[c].sum()
        whole += tables[c]
    for c in range(tables.shape[0]):
        size = tables[c].sum()
        for s in range(tables.shape[1]):
            chance = (tables[c, s] + BACKOFF * (whole[s] + 0.01) / (total + 1.0)) / (size + BACKOFF)
            prices[s, c] = -log2_of(chance)
    own, bits = np.zeros(tables.shape[0], np.float32), np.zeros(tables.shape[0], np.float32)
    for c in range(own.size):
        own[c] = -log2_of((members[c] + 0.5) / (starts.size - 1))
    for p in range(starts.size - 1):
        bits[:] = own
        for i in range(starts[p], starts[p + 1]):
            count, row = np.float32(counts[i]), prices[symbols[i]]
            for c in range(bits.size):
                bits[c] += count * row[c]
        clusters[p] = np.argmin(bits)


@njit(cache=True, nogil=True)
def tabulate(logs):
    """Fills logs[n] with n log2(n)."""
    for n in range(1, logs.size):
        logs[n] = n * log2_of(n)


@njit(inline="always")
def information(n, logs):
    """n log2(n)."""
    return logs[int64(n)] if n < logs.size else n * log2_of(n)


@njit(cache=True, nogil=True)
def length(tables, c, d, members, keys, logs):
    """Bits of the symbols counted in two tables, or in one with itself, of one table for both, and of which keys use
    it."""
    size, bits, distinct = 0.0, 0.0, 0
    both = np.float64(c != d)
    for s in range(tables.shape[1]):
        count = tables[c, s] + both * tables[d, s]
        if count > 0:
            size += count
            bits -= information(count, logs)
            distinct += 1
    bits += information(size, logs) - members * log2_of(members / keys)
    return bits + ENTRY_BITS * distinct + (TABLE_BITS if distinct else 0.0)


@njit(cache=True, nogil=True)
def merge(tables, members, into, logs):
    """Merges clusters as long as that makes all of it shorter; `into` tells where each has gone. logs as `tabulate`
    fills them."""
    count, keys = tables.shape[0], members.sum()
    alive = np.zeros(count, np.bool_)
    alone = np.zeros(count)
    for c in range(count):
        into[c] = c
        alone[c] = length(tables, c, c, members[c], keys, logs)
        alive[c] = members[c] > 0
    gains = np.full((count, count), -1.0)
    for c in range(count):
        for d in range(c):
            if alive[c] and alive[d]:
                together = length(tables, c, d, members[c] + members[d], keys, logs)
                gains[c, d] = alone[c] + alone[d] - together
    while True:
        best = np.argmax(gains)
        c, d = best // count, best % count
        if gains[c, d] <= 0:
            return
        tables[d] += tables[c]
        members[d] += members[c]
        tables[c], members[c] = 0, 0
        alone[d] = length(tables, d, d, members[d], keys, logs)
        alive[c] = False
        for k in range(count):
            if into[k] == c:
                into[k] = d
            gains[c, k] = gains[k, c] = -1.0
        for k in range(count):
            if alive[k] and k != d:
                together = length(tables, k, d, members[k] + members[d], keys, logs)
                gains[max(k, d), min(k, d)] = alone[k] + alone[d] - together
