"""The static probability model: how often each symbol occurs, in slots of 1 / 2**bits.

It knows nothing of the coder that will use it. Stored, it is the gaps between the symbols that occur
and their frequencies, a byte or so for each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdlake.errors import CorruptError
from mdlake.kernels import histogram

MAX_BITS = 14


@dataclass(frozen=True)
class FrequencyTable:
    """`symbols` that occur, ascending, and their `frequencies` (int64, >= 1, sum 2**bits)."""

    symbols: np.ndarray
    frequencies: np.ndarray
    bits: int

    @staticmethod
    def of_counts(counts: np.ndarray, bits: int) -> FrequencyTable:
        """Needs at least one count above zero and 2**bits >= the number of those."""
        symbols = np.flatnonzero(counts)
        frequencies = np.zeros(symbols.size, np.int64)
        histogram.quantize(counts[symbols], bits, frequencies)
        return FrequencyTable(symbols, frequencies, bits)

    def to_integers(self) -> np.ndarray:
        """Gaps and frequencies in turn (two kinds)."""
        gaps = np.diff(self.symbols, prepend=-1) - 1
        return np.column_stack((gaps, self.frequencies - 1)).reshape(-1)

    @staticmethod
    def of_integers(integers: np.ndarray, bits: int, alphabet: int) -> FrequencyTable:
        gaps, frequencies = integers[0::2], integers[1::2] + 1
        symbols = np.cumsum(gaps + 1) - 1
        if symbols[-1] >= alphabet:
            raise CorruptError(f"the frequency table names symbol {symbols[-1]} of an alphabet of {alphabet}")
        if frequencies.sum() != 1 << bits:
            raise CorruptError(f"the frequencies sum to {frequencies.sum()}, not {1 << bits}")
        return FrequencyTable(symbols, frequencies, bits)


def table_bits(counts: np.ndarray) -> int:
    """Enough slots for these counts, and no more: a larger table costs bytes and cache.

    4096 slots unless there are many symbols, or one so frequent that 1 / 4096 is coarse for the others.
    """
    total, distinct = int(counts.sum()), int(np.count_nonzero(counts))
    if distinct == 1:
        return 0
    wide = distinct > 256 or int(counts.max()) * 16 > total * 15
    enough = max((total - 1).bit_length(), (distinct - 1).bit_length())
    return min(MAX_BITS if wide else 12, enough)


def payload_bits(counts: np.ndarray, table: FrequencyTable) -> int:
    """About how many bits the symbols will take: sum of count * log2(slots / frequency), in integers.

    The logarithm is the piecewise linear one, at most 0.09 too small.
    """
    lengths = np.array([int(f).bit_length() - 1 for f in table.frequencies], np.int64)
    logarithms = (lengths << 8) + (table.frequencies << 8 >> lengths) - 256
    return int((counts[table.symbols] * ((table.bits << 8) - logarithms)).sum()) >> 8
