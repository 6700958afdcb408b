"""Which contexts share a table, so that tables and what is coded with them take the fewest bits together.

Lloyd's iterations from many clusters, then merging by description length, as in the context maps of JPEG XL (ISO/IEC
18181-1, annex C) and Brotli (RFC 7932, section 7).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from mdlake.kernels import clustering as kernel

MOST = 64
_ROUNDS = 2
_DENSE = 1 << 20
_COMMON = 1 << 12


def clusters(keys: NDArray[np.intp], count: int, symbols: np.ndarray, alphabet: int) -> NDArray[np.uint8]:
    """uint8 [count]: the cluster of each key, numbered without gaps in the order of the keys that come first.

    Args:
        keys: below `count`, one for each of the `symbols`, which are below `alphabet`.
    """
    cells = keys * alphabet + symbols
    if count * alphabet <= _DENSE:
        every = np.bincount(cells, minlength=count * alphabet)
        present = np.flatnonzero(every)
        counts = every[present]
    else:
        present, counts = np.unique(cells, return_counts=True)
    starts = np.searchsorted(present, np.arange(count + 1) * alphabet)
    sparse = starts, present % alphabet, counts
    found = _first(starts, counts, len(keys))
    tables = np.zeros((int(found.max()) + 1, alphabet))
    prices, members = np.zeros(tables.T.shape, np.float32), np.zeros(len(tables))
    for _ in range(_ROUNDS):
        kernel.gather(*sparse, found, tables, members)
        kernel.assign(*sparse, tables, members, prices, found)
    kernel.gather(*sparse, found, tables, members)
    into = np.zeros(len(tables), np.int64)
    kernel.merge(tables, members, into, _logs())
    left = np.flatnonzero(members)
    kernel.assign(*sparse, tables[left], members[left], np.zeros((alphabet, len(left)), np.float32), found)
    _, firsts, numbers = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(firsts)).astype(np.uint8)[numbers]


def merged(counts: NDArray[np.integer]) -> NDArray[np.uint8]:
    """uint8 [count]: which of these histograms, [count, alphabet], share a table; tables are numbered as they come."""
    occurring = counts.any(axis=0)
    tables, members = counts[:, occurring].astype(np.float64), np.ones(len(counts))
    into = np.zeros(len(counts), np.int64)
    kernel.merge(tables, members, into, _logs())
    return np.unique(into, return_inverse=True)[1].astype(np.uint8)


@cache
def _logs() -> NDArray[np.float64]:
    logs = np.zeros(_COMMON)
    kernel.tabulate(logs)
    return logs


def _first(starts: NDArray[np.intp], counts: NDArray[np.intp], total: int) -> NDArray[np.int64]:
    """Clusters to begin with: the most frequent keys each by itself, the others by their order in equal parts."""
    half = max(min(MOST // 2, total // 512), 1)
    sizes = np.add.reduceat(counts, starts[:-1])
    frequent = np.argsort(-sizes, kind="stable")[:half]
    rest = sizes.copy()
    rest[frequent] = 0
    before = np.cumsum(rest) - rest
    found = before * half // max(int(rest.sum()), 1)
    found[frequent] = half + np.arange(len(frequent))
    return np.minimum(found, half - 1 + len(frequent)).astype(np.int64)
