"""Arrow types made plain and dressed again: views, list views and extensions as the types that lie under them.

Arrow's own kernels (take, filter) do not know the view types; large variants hold the same values and they do.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.types as t

from mdlake.errors import InvalidArgumentError


def plain_type(type_: pa.DataType) -> pa.DataType:
    """The type with every view as its large variant and every extension as its storage, at any depth.

    Raises:
        InvalidArgumentError: a type that Parquet cannot carry (union, run-end encoded, interval).
    """
    if isinstance(type_, pa.BaseExtensionType):
        return plain_type(type_.storage_type)
    if t.is_string_view(type_):
        return pa.large_string()
    if t.is_binary_view(type_):
        return pa.large_binary()
    if t.is_list(type_):
        return pa.list_(_plain_field(type_.value_field))
    if t.is_large_list(type_) or t.is_list_view(type_) or t.is_large_list_view(type_):
        return pa.large_list(_plain_field(type_.value_field))
    if t.is_fixed_size_list(type_):
        return pa.list_(_plain_field(type_.value_field), type_.list_size)
    if t.is_map(type_):
        return pa.map_(_plain_field(type_.key_field), _plain_field(type_.item_field), type_.keys_sorted)
    if t.is_struct(type_):
        return pa.struct([_plain_field(field) for field in type_])
    if t.is_dictionary(type_):
        return pa.dictionary(type_.index_type, plain_type(type_.value_type), type_.ordered)
    if t.is_union(type_) or t.is_run_end_encoded(type_) or t.is_interval(type_):
        raise InvalidArgumentError(f"type {type_} cannot be stored in Parquet, so not in a block; cast the column")
    return type_


def undress(array: pa.Array) -> pa.Array:
    """The array as its `plain_type`."""
    plain = plain_type(array.type)
    if plain.equals(array.type):
        return array
    if not _has_list_view(array.type):
        return array.cast(plain)
    type_ = array.storage.type if isinstance(array, pa.ExtensionArray) else array.type
    if isinstance(array, pa.ExtensionArray):
        return undress(array.storage)
    bitmap = [None] if array.null_count == 0 else [validity_bitmap(array.is_valid().to_numpy(zero_copy_only=False))]
    if t.is_struct(type_):
        return pa.Array.from_buffers(plain, len(array), bitmap, children=[undress(c) for c in array.flatten()])
    if t.is_fixed_size_list(type_):
        start, stop = array.offset * type_.list_size, (array.offset + len(array)) * type_.list_size
        return pa.Array.from_buffers(plain, len(array), bitmap, children=[undress(array.values[start:stop])])
    return _undress_list(array, plain, bitmap)


def validity_bitmap(validity: np.ndarray) -> pa.Buffer:
    """Arrow's bitmap of a bool array."""
    return pa.py_buffer(np.packbits(validity, bitorder="little"))


def dress(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """A plain array as `type_`, whose plain type it has; the array starts at offset 0."""
    if array.type.equals(type_, check_metadata=True):
        return array
    if isinstance(type_, pa.BaseExtensionType):
        return type_.wrap_array(dress(array, type_.storage_type))
    if t.is_list_view(type_) or t.is_large_list_view(type_):
        return _list_view(array, type_)
    if t.is_struct(type_):
        children = [dress(array.field(i), field.type) for i, field in enumerate(type_)]
        return pa.Array.from_buffers(type_, len(array), array.buffers()[:1], children=children)
    if t.is_map(type_):
        entries = pa.struct([type_.key_field, type_.item_field])
        return _with_items(array, type_, dress(array.values, entries))
    if t.is_list(type_) or t.is_large_list(type_) or t.is_fixed_size_list(type_):
        return _with_items(array, type_, dress(array.values, type_.value_type))
    return array.cast(type_)


def _undress_list(array: pa.Array, plain: pa.DataType, bitmap: list[pa.Buffer | None]) -> pa.Array:
    """Lists of any kind by their lengths; Arrow's own cast of list views gives wrong offsets after a null."""
    starts = array.offsets.to_numpy().astype(np.int64)
    if t.is_list_view(array.type) or t.is_large_list_view(array.type):
        lengths = array.sizes.to_numpy().astype(np.int64)
    else:
        starts, lengths = starts[:-1], np.diff(starts)
    lengths = np.where(array.is_valid().to_numpy(zero_copy_only=False), lengths, 0)
    offsets = np.zeros(len(array) + 1, np.int64 if t.is_large_list(plain) else np.int32)
    np.cumsum(lengths, out=offsets[1:])
    places = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    items = undress(array.values).take(pa.array(places))
    buffers = [*bitmap, pa.py_buffer(offsets)]
    return pa.Array.from_buffers(plain, len(array), buffers, children=[items])


def _has_list_view(type_: pa.DataType) -> bool:
    if isinstance(type_, pa.BaseExtensionType):
        return _has_list_view(type_.storage_type)
    if t.is_list_view(type_) or t.is_large_list_view(type_):
        return True
    return any(_has_list_view(type_.field(i).type) for i in range(type_.num_fields))


def _with_items(array: pa.Array, type_: pa.DataType, items: pa.Array) -> pa.Array:
    own = 1 if t.is_fixed_size_list(type_) else 2
    return pa.Array.from_buffers(type_, len(array), array.buffers()[:own], children=[items])


def _list_view(array: pa.Array, type_: pa.DataType) -> pa.Array:
    offsets = array.offsets.to_numpy()
    width = np.int64 if t.is_large_list_view(type_) else np.int32
    starts, sizes = offsets[:-1].astype(width), np.diff(offsets).astype(width)
    buffers = [array.buffers()[0], pa.py_buffer(starts), pa.py_buffer(sizes)]
    items = dress(array.values, type_.value_type)
    return pa.Array.from_buffers(type_, len(array), buffers, children=[items])


def _plain_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, plain_type(field.type), field.nullable)
