"""rANS over rows: static frequencies, each row by one of a few tables. The coder of weights.

Its payload is in two parts, so that the large one is not copied. Tables: a byte, the binary logarithm of the lanes; as
packed integers how many symbols each table has, less one, and the tables one after another, as in `rans`. Words: those
of all lanes (uint16) in the order in which they are read, then the state of each lane (uint32).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.integers import IntegerReader, pack_integers
from mdlake.errors import CorruptError, TruncatedError
from mdlake.kernels import expanding
from mdlake.kernels import rans_rows as kernel

ALPHABET = 256
MAX_TABLES = 64
MAX_LANES = 64
_LANE_SYMBOLS = 1024


@dataclass(frozen=True)
class CodedRows:
    """Symbols of rows as the two parts of the payload; `rare`: the places of those coded as if they were symbol 0."""

    tables: bytes
    words: memoryview
    rare: NDArray[np.uint32]


def encode_rows(
    symbols: NDArray[np.uint8], length: int, tables: NDArray[np.uint8], frequencies: NDArray[np.int64]
) -> CodedRows:
    """Codes symbols without slots as symbol 0.

    Args:
        symbols: fewer than 2**32.
        tables: the table of each row of `length` symbols, of which the last may have fewer.
        frequencies: the slots of each symbol, [tables, 256]; every table has symbol 0.
    """
    lanes = 1
    while lanes < MAX_LANES and 2 * lanes <= length and 2 * lanes * _LANE_SYMBOLS <= symbols.size:
        lanes *= 2
    distinct, pairs = np.empty(len(frequencies), np.int64), np.empty((frequencies.size, 2), np.int64)
    pairs = pairs[: kernel.list_tables(frequencies, distinct, pairs)]
    head = bytes([lanes.bit_length() - 1]) + pack_integers(distinct - 1, pairs.reshape(-1), kinds=(1, 2))
    cells, states = np.empty(frequencies.size, np.uint64), np.full(lanes, kernel.START, np.uint32)
    kernel.fill_encode_tables(frequencies, cells)
    words, rare = np.empty(symbols.size + 2 * lanes, np.uint16), np.empty(symbols.size, np.uint32)
    ahead = words[: symbols.size]
    start, first = kernel.encode(symbols, length, tables, cells, states, ahead, rare, expanding.FITS)
    words[symbols.size :] = states.astype("<u4").view(np.uint16)
    return CodedRows(head, words[start:].astype("<u2", copy=False).view(np.uint8).data, rare[first:])


class RowDecoder:
    """Decodes rows in order, some at a time.

    Raises:
        CorruptError, TruncatedError: the parts are no payload of `number` tables.
    """

    def __init__(self, tables: bytes | memoryview, words: bytes | memoryview, number: int) -> None:
        if len(tables) == 0 or tables[0] >= MAX_LANES.bit_length():
            raise CorruptError("there are no such tables of rows")
        lanes = 1 << tables[0]
        reader = IntegerReader(memoryview(tables)[1:])
        distinct = reader.read(number) + 1
        if int(distinct.max()) > ALPHABET:
            raise CorruptError(f"a table of {distinct.max()} symbols of an alphabet of {ALPHABET}")
        pairs, frequencies = reader.read(2 * int(distinct.sum()), kinds=2), np.zeros((number, ALPHABET), np.int64)
        self.largest = kernel.unlist_tables(distinct, pairs.reshape(-1, 2), frequencies)
        """The largest symbol of any table."""
        if self.largest < 0 or reader.rest().size:
            raise CorruptError("a table names a symbol that there is not, or does not have all slots")
        self._data = np.frombuffer(words, np.uint8)
        self._size = self._data.size - 4 * lanes
        if self._size < 0:
            raise TruncatedError(f"{self._data.size} bytes for the states of {lanes} lanes")
        self._states = np.frombuffer(words, "<u4", lanes, self._size).astype(np.uint32)
        self._cells = np.empty(number << kernel.BITS, np.uint32)
        kernel.fill_decode_tables(frequencies, self._cells)
        self._at = 0

    def take(self, tables: NDArray[np.uint8], length: int, symbols: NDArray[np.uint8]) -> None:
        """Fills `symbols` with the next rows of `length`; `tables`: of each row, below their number."""
        state = self._cells, self._states
        self._at = kernel.decode(self._data, self._at, self._size, length, tables, *state, symbols, expanding.FITS)
        if self._at < 0:
            raise TruncatedError(f"{self._size} bytes of words are too few")

    def finish(self) -> None:
        """Checks that the words end here."""
        if self._at != self._size or bool((self._states != kernel.START).any()):
            fault = TruncatedError if self._at > self._size else CorruptError
            raise fault(f"the lanes do not end where their {self._size} bytes of words do")
