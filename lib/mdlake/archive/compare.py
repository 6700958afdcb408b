"""Bit-exact comparison of Arrow arrays: value bits, NaN payloads, -0.0, validity.

Arrow's own equality holds NaN unequal to itself and -0.0 equal to 0.0, so floats are compared as the integers
of the same bits. What lies under a null is no part of the data.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.types as t

_BITS = {pa.float16(): pa.uint16(), pa.float32(): pa.uint32(), pa.float64(): pa.uint64()}


def first_difference(one: pa.Array, other: pa.Array) -> int | None:
    """The first row in which two arrays of one type differ, None if there is none."""
    one, other = as_bits(one), as_bits(other)
    if one.equals(other):
        return None
    low, high = 0, min(len(one), len(other))  # rows before low are equal; the first difference is below high
    if one.slice(0, high).equals(other.slice(0, high)):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one.slice(low, middle - low).equals(other.slice(low, middle - low)):
            low = middle
        else:
            high = middle
    return low


def as_bits(array: pa.Array) -> pa.Array:
    """The array with floats as unsigned integers, dictionaries decoded and extensions as storage, at any depth."""
    type_ = array.type
    if type_ in _BITS:
        return array.view(_BITS[type_])
    if isinstance(array, pa.ExtensionArray):
        return as_bits(array.storage)
    if isinstance(array, pa.DictionaryArray):
        return as_bits(array.dictionary_decode())
    if isinstance(array, pa.StructArray):
        return _struct(array)
    if t.is_fixed_size_list(type_) and not type_.list_size:
        return array.is_valid()  # Arrow makes no such list of items; all that can differ is a null
    if t.is_fixed_size_list(type_):
        items = as_bits(array.flatten() if not array.null_count else _all_items(array))
        return pa.FixedSizeListArray.from_arrays(items, type_.list_size, mask=_mask(array))
    if t.is_map(type_):
        entries = pa.StructArray.from_arrays([array.keys, array.items], ["key", "value"])
        offsets = pa.array(array.offsets.to_numpy().copy())
        return as_bits(pa.ListArray.from_arrays(offsets, entries, mask=_mask(array)))
    if t.is_list(type_) or t.is_large_list(type_):
        return _lists(array, np.diff(array.offsets.to_numpy()))
    if t.is_list_view(type_) or t.is_large_list_view(type_):
        return _lists(array, array.sizes.to_numpy())
    return array


def _struct(array: pa.StructArray) -> pa.Array:
    children = [as_bits(array.field(i)) for i in range(array.type.num_fields)]
    if not children:
        return array
    names = [str(i) for i in range(len(children))]
    return pa.StructArray.from_arrays(children, names, mask=_mask(array))


def _lists(array: pa.Array, lengths: np.ndarray) -> pa.Array:
    """Any list as a large list of what its valid rows hold."""
    mask = array.is_null()
    offsets = np.zeros(len(array) + 1, np.int64)
    np.cumsum(np.where(mask.to_numpy(zero_copy_only=False), 0, lengths), out=offsets[1:])
    return pa.LargeListArray.from_arrays(pa.array(offsets), as_bits(array.flatten()), mask=mask)


def _all_items(array: pa.Array) -> pa.Array:
    """The items of fixed-size lists, those under nulls too."""
    size = array.type.list_size
    return array.values[array.offset * size : (array.offset + len(array)) * size]


def _mask(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None
