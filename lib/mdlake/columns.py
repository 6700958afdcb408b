"""Arrow arrays as streams and back: validity, lengths and values, nested types down to their leaves.

What is under a null is not kept: only valid values are streamed. Everything else comes back bit for bit.
The order of the streams is part of the block format (`schemas/FORMAT.md`, "Streams of a column").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.types as t

from mdlake.arrow_types import dress, plain_type, undress, validity_bitmap
from mdlake.encodings.facts import hashable
from mdlake.errors import CorruptError, InvalidArgumentError
from mdlake.streams import Kind, Stream, Strings, numbers

LIMB = np.dtype("<u8")
_SIMPLE = {1: Kind.I8, 2: Kind.I16, 4: Kind.I32, 8: Kind.I64}
_NUMERIC = {
    pa.int8(): Kind.I8, pa.int16(): Kind.I16, pa.int32(): Kind.I32, pa.int64(): Kind.I64,
    pa.uint8(): Kind.U8, pa.uint16(): Kind.U16, pa.uint32(): Kind.U32, pa.uint64(): Kind.U64,
    pa.float16(): Kind.F16, pa.float32(): Kind.F32, pa.float64(): Kind.F64,
}  # fmt: skip


class Source(Protocol):
    """Where streams come from when a column is rebuilt."""

    def take(self, kind: Kind, count: int | None, role: str) -> Stream:
        """The next stream; `count` is None where the stream itself says how long it is.

        Raises:
            CorruptError: the next stream is of another kind or length.
        """
        ...


def fixed_kind(type_: pa.DataType) -> Kind | None:
    """The kind of a type whose values are one machine number; None for any other."""
    if type_ in _NUMERIC:
        return _NUMERIC[type_]
    if t.is_temporal(type_) and not t.is_interval(type_):
        return _SIMPLE[type_.bit_width // 8]
    if t.is_decimal32(type_) or t.is_decimal64(type_):
        return _SIMPLE[type_.bit_width // 8]
    return None


def flatten(array: pa.Array) -> Iterator[tuple[str, Stream]]:
    """The streams of an array, in order, each with its role, such as `validity` or `item.values`.

    Raises:
        InvalidArgumentError: a type that Parquet cannot carry (union, run-end encoded, interval).
    """
    return _flatten(undress(array), "")


def rebuild(type_: pa.DataType, count: int, source: Source) -> pa.Array:
    """The array of `count` values whose streams `source` gives; the inverse of `flatten`.

    Raises:
        CorruptError: the streams do not describe such an array.
    """
    return dress(_rebuild(plain_type(type_), count, source, ""), type_)


def _flatten(array: pa.Array, role: str) -> Iterator[tuple[str, Stream]]:
    type_ = array.type
    if t.is_null(type_):
        return
    if t.is_dictionary(type_):
        yield from _flatten_dictionary(array, role)
        return
    yield role + "validity", _validity(array)
    valid = array.drop_null() if array.null_count else array
    if (kind := fixed_kind(type_)) is not None:
        yield role + "values", _fixed(valid, kind)
    elif t.is_boolean(type_):
        yield role + "values", valid.cast(pa.uint8()).to_numpy(zero_copy_only=False)
    elif t.is_decimal128(type_) or t.is_decimal256(type_):
        yield from _limbs(valid, role)
    elif _is_bytes(type_):
        yield role + "values", _strings(valid)
    elif t.is_struct(type_):
        for field, child in zip(type_, valid.flatten(), strict=True):
            yield from _flatten(child, f"{role}{field.name}.")
    elif t.is_fixed_size_list(type_):
        yield from _flatten(valid.flatten(), role + "item.")
    elif t.is_list(type_) or t.is_large_list(type_) or t.is_map(type_):
        offsets = valid.offsets.to_numpy().astype(np.int64)
        yield role + "lengths", np.diff(offsets)
        yield from _flatten(valid.values[offsets[0] : offsets[-1]], role + "item.")
    else:
        raise InvalidArgumentError(f"type {type_} is not known to the block format; cast the column")


def _flatten_dictionary(array: pa.DictionaryArray, role: str) -> Iterator[tuple[str, Stream]]:
    """By its indices: a null entry of the dictionary is a value like any other, and stays one."""
    yield role + "validity", _validity(array.indices)
    yield role + "dictionary.count", np.array([len(array.dictionary)], np.int64)
    yield role + "indices", _fixed(array.indices.drop_null(), _NUMERIC[array.type.index_type])
    yield from _flatten(array.dictionary, role + "dictionary.")


def _validity(array: pa.Array) -> np.ndarray:
    return array.is_valid().cast(pa.uint8()).to_numpy(zero_copy_only=False)


def _rebuild(type_: pa.DataType, count: int, source: Source, role: str) -> pa.Array:
    if t.is_null(type_):
        return pa.nulls(count)
    validity = _flags(source.take(Kind.U8, count, role + "validity"))
    present = int(np.count_nonzero(validity))
    if (kind := fixed_kind(type_)) is not None:
        values = source.take(kind, present, role + "values")
        return _from_fixed(type_, validity, values)
    if t.is_boolean(type_):
        values = _flags(source.take(Kind.U8, present, role + "values"))
        return _spread(pa.array(values), validity)
    if t.is_decimal128(type_) or t.is_decimal256(type_):
        return _from_limbs(type_, validity, present, source, role)
    if _is_bytes(type_):
        strings = source.take(Kind.STRINGS, present, role + "values")
        assert isinstance(strings, Strings)
        return _spread(_from_strings(type_, strings), validity)
    if t.is_dictionary(type_):
        return _from_dictionary(type_, validity, present, source, role)
    if t.is_struct(type_):
        fields = [_rebuild(f.type, present, source, f"{role}{f.name}.") for f in type_]
        buffers = [None] if present == count else [validity_bitmap(validity)]
        return pa.Array.from_buffers(type_, count, buffers, children=[_spread(field, validity) for field in fields])
    if t.is_fixed_size_list(type_):
        items = _rebuild(type_.value_type, present * type_.list_size, source, role + "item.")
        every = np.repeat(validity, type_.list_size)
        buffers = [None] if present == count else [validity_bitmap(validity)]
        return pa.Array.from_buffers(type_, count, buffers, children=[_spread(items, every)])
    return _from_lists(type_, validity, present, source, role)


def _is_bytes(type_: pa.DataType) -> bool:
    tests = (t.is_string, t.is_large_string, t.is_binary, t.is_large_binary, t.is_fixed_size_binary)
    return any(test(type_) for test in tests)


def _fixed(array: pa.Array, kind: Kind) -> np.ndarray:
    """The values of an array of machine numbers without nulls, as they lie in memory."""
    data = array.buffers()[1]
    if len(array) == 0 or data is None:
        return np.zeros(0, kind.dtype)
    return np.frombuffer(data, kind.dtype, len(array), array.offset * kind.width)


def _strings(array: pa.Array) -> Strings:
    binary = array.cast(pa.large_binary()) if not t.is_large_binary(array.type) else array
    if len(binary) == 0:
        return Strings(np.zeros(1, np.int64), np.zeros(0, np.uint8))
    _, offsets, data = binary.buffers()
    starts = np.frombuffer(offsets, np.int64, len(binary) + 1, 8 * binary.offset)
    text = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    return Strings(starts - starts[0], text[starts[0] : starts[-1]])


def _limbs(array: pa.Array, role: str) -> Iterator[tuple[str, Stream]]:
    """Wide decimals: one int64 stream where all fit, else one stream a 64-bit limb, the lowest first."""
    width = array.type.bit_width // 64
    data = array.buffers()[1]
    limbs = np.zeros((0, width), LIMB)
    if len(array):
        limbs = np.frombuffer(data, LIMB, width * len(array), 8 * width * array.offset).reshape(-1, width)
    low = np.ascontiguousarray(limbs[:, 0]).view(np.int64)
    narrow = bool(np.all(limbs[:, 1:].view(np.int64) == (low >> 63)[:, None]))
    yield role + "narrow", np.array([narrow], np.uint8)
    yield role + "values", low
    for i in range(1, width if not narrow else 1):
        yield role + f"limb{i}", np.ascontiguousarray(limbs[:, i])


def _from_limbs(type_: pa.DataType, validity: np.ndarray, present: int, source: Source, role: str) -> pa.Array:
    width = type_.bit_width // 64
    narrow = _flags(source.take(Kind.U8, 1, role + "narrow"))[0]
    low = numbers(source.take(Kind.I64, present, role + "values"))
    limbs = np.empty((present, width), LIMB)
    limbs[:, 0] = low.view(LIMB)
    for i in range(1, width):
        limbs[:, i] = (low >> 63).view(LIMB) if narrow else numbers(source.take(Kind.U64, present, role + f"limb{i}"))
    every = np.zeros((len(validity), width), LIMB)
    every[validity] = limbs
    return _numbers(type_, every, validity)


def _from_fixed(type_: pa.DataType, validity: np.ndarray, values: Stream) -> pa.Array:
    assert isinstance(values, np.ndarray)
    if len(values) == len(validity):
        return _numbers(type_, np.ascontiguousarray(values), validity)
    every = np.zeros(len(validity), values.dtype)
    every[validity] = values
    return _numbers(type_, every, validity)


def _numbers(type_: pa.DataType, values: np.ndarray, validity: np.ndarray) -> pa.Array:
    bitmap = None if bool(validity.all()) else validity_bitmap(validity)
    return pa.Array.from_buffers(type_, len(validity), [bitmap, pa.py_buffer(values)])


def _from_strings(type_: pa.DataType, strings: Strings) -> pa.Array:
    binary = hashable(strings)
    if t.is_fixed_size_binary(type_):
        if len(strings) and bool(np.any(strings.lengths != type_.byte_width)):
            raise CorruptError(f"values of {type_} do not all have {type_.byte_width} bytes")
        return pa.Array.from_buffers(type_, len(strings), [None, pa.py_buffer(np.ascontiguousarray(strings.data))])
    try:
        binary = binary.cast(pa.large_binary() if t.is_large_string(type_) or t.is_large_binary(type_) else pa.binary())
    except pa.ArrowInvalid as error:
        raise CorruptError(f"the bytes are no {type_}: {error}") from error
    # Parquet files hold strings that are no UTF-8, and Arrow reads them unasked: what came in goes out
    return pa.Array.from_buffers(type_, len(strings), binary.buffers())


def _from_dictionary(type_: pa.DataType, validity: np.ndarray, present: int, source: Source, role: str) -> pa.Array:
    size = numbers(source.take(Kind.I64, 1, role + "dictionary.count"))
    indices = numbers(source.take(_NUMERIC[type_.index_type], present, role + "indices"))
    entries = int(size[0])
    if entries < 0 or (present and not 0 <= int(indices.min()) <= int(indices.max()) < entries):
        raise CorruptError(f"a dictionary index is outside 0 to {entries - 1}")
    dictionary = _rebuild(type_.value_type, entries, source, role + "dictionary.")
    return pa.DictionaryArray.from_arrays(
        _from_fixed(type_.index_type, validity, indices), dictionary, ordered=type_.ordered, safe=False
    )


def _from_lists(type_: pa.DataType, validity: np.ndarray, present: int, source: Source, role: str) -> pa.Array:
    lengths = numbers(source.take(Kind.I64, present, role + "lengths"))
    width = np.int64 if t.is_large_list(type_) else np.int32
    total = float(lengths.sum(dtype=np.float64))
    if (present and int(lengths.min()) < 0) or total > np.iinfo(width).max:
        raise CorruptError(f"list lengths are negative or exceed what {type_} can hold")
    every = np.zeros(len(validity), np.int64)
    every[validity] = lengths
    offsets = np.zeros(len(validity) + 1, width)
    np.cumsum(every, out=offsets[1:])
    items = _rebuild(_item_type(type_), int(total), source, role + "item.")
    bitmap = None if present == len(validity) else validity_bitmap(validity)
    return pa.Array.from_buffers(type_, len(validity), [bitmap, pa.py_buffer(offsets)], children=[items])


def _item_type(type_: pa.DataType) -> pa.DataType:
    return pa.struct([type_.key_field, type_.item_field]) if t.is_map(type_) else type_.value_type


def _spread(values: pa.Array, validity: np.ndarray) -> pa.Array:
    """Puts compact values where `validity` says, nulls elsewhere."""
    if len(values) == len(validity):
        return values
    positions = np.cumsum(validity, dtype=np.int64) - 1
    return values.take(pa.array(positions, mask=~validity))


def _flags(stream: Stream) -> np.ndarray:
    assert isinstance(stream, np.ndarray)
    if len(stream) and int(stream.max()) > 1:
        raise CorruptError("a flag is neither 0 nor 1")
    return stream.view(bool)
