"""Columns as codes: one number per row, equal where the values are, in the order of the values. 0 is null.

This is what one column tells another: `search.relations` finds out which, blocks are coded with it.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mdlake.columns import flatten
from mdlake.encodings.facts import hashable
from mdlake.streams import Stream, Strings, bits_of, kind_of, numbers

_DENSE = 1 << 16
_FLAT = ["validity", "values"]


def codes_of(array: pa.Array) -> NDArray[np.uint32] | None:
    """uint32 [rows]: 0 for null, else 1 and the rank of the value among those that occur.

    None for nested and dictionary columns, and for decimals of more than 64 bits: these tell other columns nothing.
    """
    streams = dict(flatten(array)) if not pa.types.is_nested(array.type) else {}
    if int(numbers(streams.pop("narrow", np.ones(1)))[0]) != 1 or list(streams) != _FLAT:
        return None
    codes = ranks(streams["values"])
    codes += np.uint32(1)
    if array.null_count == 0:
        return codes
    every = np.zeros(len(array), np.uint32)
    every[np.asarray(streams["validity"]).view(bool)] = codes
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
