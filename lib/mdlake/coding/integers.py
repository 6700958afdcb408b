"""Side information: short lists of integers, bit-packed, at the head of a payload."""

from __future__ import annotations

import numpy as np

from mdlake.errors import CorruptError, TruncatedError
from mdlake.kernels import golomb


def pack_integers(*lists: np.ndarray, kinds: tuple[int, ...]) -> bytes:
    """The lists one after another, in each so many kinds taking turns; padded to a byte with zeros."""
    buffer = np.zeros(16 + 9 * sum(values.size for values in lists), np.uint8)
    position = 0
    for values, turns in zip(lists, kinds, strict=True):
        position = golomb.golomb_encode(np.ascontiguousarray(values, np.int64), turns, buffer, position)
    return buffer[: -(-position // 8)].tobytes()


class IntegerReader:
    """Reads back what `pack_integers` wrote; how many integers there are, the caller must know and bound."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = np.frombuffer(data, np.uint8)
        self._position = 0

    def read(self, count: int, kinds: int = 1) -> np.ndarray:
        values = np.empty(count, np.int64)
        position = golomb.golomb_decode(self._data, self._position, kinds, values)
        if position == -1:
            raise TruncatedError("the payload ends inside its tables")
        if position < 0:
            raise CorruptError("a number in the tables is too large")
        self._position = int(position)
        return values

    def rest(self) -> np.ndarray:
        """The bytes after the integers."""
        used, spare = divmod(self._position, 8)
        if spare and int(self._data[used]) & (0xFF >> spare):
            raise CorruptError("the bits after the tables are not zero")
        return self._data[used + bool(spare) :]
