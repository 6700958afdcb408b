"""The static model of order 1: frequency tables of some contexts, and one that all others share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdlake.coding.frequencies import FrequencyTable, table_bits
from mdlake.coding.integers import IntegerReader
from mdlake.errors import CorruptError
from mdlake.kernels import rans as rans_kernel
from mdlake.kernels import rans_order1 as kernel

MAX_BITS = 12
MAX_SLOTS = 1 << 22
"""Of all tables together: 32 MiB when decoding."""


@dataclass(frozen=True)
class PairTables:
    """`shared`: the table of every context without its own. Of context contexts[i] the table has 2**bits[i] slots,
    and sizes[i] of the `symbols` and `frequencies`; all int64."""

    shared: FrequencyTable
    contexts: np.ndarray
    bits: np.ndarray
    sizes: np.ndarray
    symbols: np.ndarray
    frequencies: np.ndarray

    @classmethod
    def of_counts(cls, contexts: np.ndarray, symbols: np.ndarray, counts: np.ndarray, alphabet: int) -> PairTables:
        """Of pairs that occur `counts` times, ascending: the contexts whose own tables pay."""
        whole = _table(np.bincount(symbols, weights=counts, minlength=alphabet).astype(np.int64))
        costs = np.zeros(alphabet, np.int64)
        costs[whole.symbols] = [(whole.bits << 8) - kernel.log2(f) for f in whole.frequencies.tolist()]
        ends = np.append(np.flatnonzero(np.diff(contexts)) + 1, len(contexts))
        sizes = np.diff(ends, prepend=0)
        bits, frequencies = np.empty(len(ends), np.int64), np.empty(len(symbols), np.int64)
        most = MAX_BITS
        while True:
            kernel.fit(ends, symbols, counts, costs, alphabet, most, bits, frequencies)
            if (1 << bits[bits >= 0]).sum() <= MAX_SLOTS // 2:
                break
            most -= 1
            if most == 0:
                bits[:] = -1
                break
        own = bits >= 0
        chosen = np.repeat(own, sizes)
        rest = np.bincount(symbols[~chosen], weights=counts[~chosen], minlength=alphabet).astype(np.int64)
        shared = contexts[ends - 1][own], bits[own], sizes[own]
        return cls(_table(rest), *shared, symbols[chosen], frequencies[chosen])

    def slots(self, contexts: np.ndarray, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each pair the bits of its table, its frequency and its first slot; int64."""
        alphabet = int(max(contexts.max(), symbols.max())) + 1
        first = np.zeros(alphabet, np.int64)
        first[self.shared.symbols] = np.cumsum(self.shared.frequencies) - self.shared.frequencies
        frequency = np.zeros(alphabet, np.int64)
        frequency[self.shared.symbols] = self.shared.frequencies
        bits, frequencies, firsts = np.full(len(symbols), self.shared.bits), frequency[symbols], first[symbols]
        own = np.isin(contexts, self.contexts)
        bits[own], frequencies[own] = np.repeat(self.bits, self.sizes), self.frequencies
        before = np.cumsum(self.frequencies) - self.frequencies
        firsts[own] = before - np.repeat(self._starts(), self.sizes)
        return bits, frequencies, firsts

    def entries(self, alphabet: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What decoding looks up: the slots of all tables, where those of each context start, and their bits."""
        shared = 1 << self.shared.bits
        table = np.zeros(shared + int((1 << self.bits).sum()), np.uint64)
        rans_kernel.fill_decode_table(self.shared.symbols, self.shared.frequencies, table[:shared])
        rans_kernel.fill_decode_table(self.symbols, self.frequencies, table[shared:])
        starts, bits = np.zeros(alphabet, np.int64), np.full(alphabet, self.shared.bits, np.int64)
        starts[self.contexts], bits[self.contexts] = shared + self._starts(), self.bits
        return table, starts, bits

    def _starts(self) -> np.ndarray:
        slots = 1 << self.bits
        return np.cumsum(slots) - slots

    def to_integers(self) -> tuple[tuple[np.ndarray, ...], tuple[int, ...]]:
        """Lists of integers, and of how many kinds each is."""
        shared = np.array([self.shared.bits, len(self.shared.symbols)])
        contexts = np.column_stack((np.diff(self.contexts, prepend=-1) - 1, self.bits, self.sizes - 1)).reshape(-1)
        before = np.concatenate([[0], self.symbols[:-1]]) if len(self.symbols) else self.symbols
        before[np.cumsum(self.sizes) - self.sizes] = -1
        pairs = np.column_stack((self.symbols - before - 1, self.frequencies - 1)).reshape(-1)
        table = self.shared.to_integers() if len(self.shared.symbols) else np.zeros(0, np.int64)
        return (shared, table, np.array([len(self.contexts)]), contexts, pairs), (1, 2, 1, 3, 2)

    @classmethod
    def read(cls, reader: IntegerReader, alphabet: int, most: int) -> PairTables:
        """The inverse of `to_integers`; there are at most `most` integers.

        Raises:
            CorruptError, TruncatedError: they are no such tables.
        """
        bits, distinct = reader.read(2).tolist()
        if bits > MAX_BITS + 2 or distinct > min(alphabet, 1 << bits):
            raise CorruptError(f"{distinct} symbols of an alphabet of {alphabet} share {1 << min(bits, 63)} slots")
        integers = reader.read(2 * distinct, kinds=2)
        shared = FrequencyTable.of_integers(integers, bits, alphabet) if distinct else _table(np.zeros(1, np.int64))
        count = int(reader.read(1)[0])
        if count > alphabet:
            raise CorruptError(f"{count} contexts of an alphabet of {alphabet} have tables")
        gaps, widths, sizes = reader.read(3 * count, kinds=3).reshape(count, 3).T
        contexts, sizes = np.cumsum(gaps + 1) - 1, sizes + 1
        if count and (int(contexts[-1]) >= alphabet or int(widths.max()) > MAX_BITS):
            raise CorruptError("a table is of no context, or has too many slots")
        if (1 << widths).sum() > MAX_SLOTS or bool((sizes > 1 << widths).any()) or sizes.sum() > most:
            raise CorruptError("the tables of pairs are larger than they may be")
        gaps, frequencies = reader.read(2 * int(sizes.sum()), kinds=2).reshape(-1, 2).T
        ends = np.cumsum(sizes)
        sums, slots = np.cumsum(gaps + 1), np.cumsum(frequencies + 1)
        base = np.repeat(np.concatenate([[0], sums[ends[:-1] - 1]]), sizes) if count else sums
        symbols = sums - base - 1
        if count and (int(symbols.max()) >= alphabet or bool((slots[ends - 1] != np.cumsum(1 << widths)).any())):
            raise CorruptError("a table of pairs names no such symbol, or its slots are not all used")
        return cls(shared, contexts, widths.copy(), sizes, symbols, frequencies + 1)


def _table(counts: np.ndarray) -> FrequencyTable:
    """The table of these counts, an empty one where there are none."""
    if not counts.any():
        return FrequencyTable(np.zeros(0, np.int64), np.zeros(0, np.int64), 0)
    return FrequencyTable.of_counts(counts, table_bits(counts))
