"""What one column tells another: a code per row, equal where the values are, and the number or string that it is.

`search.relations` finds out which columns tell which; blocks are coded, and decoded, with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mdlake.arrow_types import plain_type
from mdlake.columns import flatten
from mdlake.encodings.facts import hashable
from mdlake.encodings.floats import decimal_digits, exact_decimals
from mdlake.encodings.known import Codes, Numbers
from mdlake.search.sample import sample
from mdlake.streams import Stream, Strings, as_int64, bits_of, kind_of, numbers

Scalar = TypeVar("Scalar", bound=np.generic)
_DENSE = 1 << 16
_SAMPLE = 4096


@dataclass(frozen=True, eq=False)
class Column:
    """A `Parent`: one column over the rows of a block row."""

    array: pa.Array

    @staticmethod
    def of(array: pa.Array) -> Column | None:
        """None for nested and dictionary columns and decimals of more than 64 bits: they tell other columns nothing."""
        stored = plain_type(array.type)
        if pa.types.is_nested(stored) or pa.types.is_dictionary(stored) or pa.types.is_null(stored):
            return None
        column = Column(array)
        narrow = column._streams.get("narrow")
        return column if narrow is None or int(numbers(narrow)[0]) == 1 else None

    def __len__(self) -> int:
        return len(self.array)

    @cached_property
    def _streams(self) -> dict[str, Stream]:
        return dict(flatten(self.array))

    @property
    def codes(self) -> Codes:
        """uint32 [rows]: 0 for null, else 1 and the rank of the value among those that occur."""
        return self._codes

    @property
    def numbers(self) -> Numbers | None:
        """int64 [rows]: integers, times and decimals as they are stored, floats by their decimal digits; 0 for null and
        for floats that are no decimals. None for strings."""
        return self._numbers

    @property
    def strings(self) -> Strings | None:
        """An empty one for null. None for anything but strings."""
        return self._strings

    @cached_property
    def _strings(self) -> Strings | None:
        values = self._streams["values"]
        if not isinstance(values, Strings) or self.array.null_count == 0:
            return values if isinstance(values, Strings) else None
        return Strings.of(self._spread(values.lengths), values.data)

    @cached_property
    def _codes(self) -> Codes:
        return self._spread(ranks(self._streams["values"]) + np.uint32(1))

    @cached_property
    def _numbers(self) -> Numbers | None:
        values = self._streams["values"]
        if not isinstance(values, np.ndarray):
            return None
        kind = kind_of(values)
        if kind.is_float:
            values, exact = exact_decimals(values, decimal_digits(numbers(sample(values, _SAMPLE))))
            values = np.where(exact, values, 0)
        return self._spread(as_int64(values))

    def _spread(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        if self.array.null_count == 0:
            return values
        every = np.zeros(len(self.array), values.dtype)
        every[numbers(self._streams["validity"]).view(bool)] = values
        return every


def ranks(stream: Stream) -> NDArray[np.uint32]:
    """uint32 [n]: each value's rank among the distinct ones. Strings by their bytes, floats by their bits' order."""
    if len(stream) == 0:
        return np.zeros(0, np.uint32)
    if isinstance(stream, np.ndarray) and kind_of(stream).is_integer:
        low, high = int(stream.min()), int(stream.max())
        if high - low <= max(_DENSE, len(stream)):
            offsets = (bits_of(stream) - bits_of(stream)[int(np.argmin(stream))]).astype(np.uint32)
            present = np.zeros(high - low + 1, np.uint32)
            present[offsets] = 1
            return (np.cumsum(present, dtype=np.uint32) - np.uint32(1))[offsets]
    coded = hashable(stream).dictionary_encode()
    order = np.empty(len(coded.dictionary), np.uint32)
    order[_ascending(coded.dictionary, stream)] = np.arange(len(order), dtype=np.uint32)
    return order[coded.indices.to_numpy()]


def _ascending(distinct: pa.Array, stream: Stream) -> NDArray[np.int64]:
    if isinstance(stream, Strings):
        return pc.call_function("array_sort_indices", [distinct]).to_numpy().astype(np.int64)
    kind = kind_of(stream)
    values = distinct.to_numpy().view(kind.dtype)
    if kind.is_float:
        bits = bits_of(values)
        top = bits.dtype.type(1 << (8 * kind.width - 1))
        values = np.where(bits & top, ~bits, bits | top)
    return np.argsort(values, kind="stable")
