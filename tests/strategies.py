"""What hypothesis draws for the property tests: streams of every kind, Arrow arrays of every type."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mdlake.streams import Kind, Stream, Strings

NUMERIC = [kind for kind in Kind if kind is not Kind.STRINGS]


@st.composite
def numeric_streams(draw: st.DrawFn, kinds: list[Kind] | None = None, min_size: int = 0) -> np.ndarray:
    """Bit patterns of all sorts: anything at all, few distinct values, runs, ramps, decimals."""
    kind = draw(st.sampled_from(kinds or NUMERIC))
    size = draw(st.integers(min_size, 300))
    shape = draw(st.sampled_from(["bits", "few", "runs", "ramp", "decimal"]))
    bits = hnp.from_dtype(kind.unsigned.dtype)
    if shape == "bits":
        return draw(hnp.arrays(kind.unsigned.dtype, size, elements=bits)).view(kind.dtype)
    if shape in ("few", "runs"):
        table = draw(hnp.arrays(kind.unsigned.dtype, draw(st.integers(1, 5)), elements=bits))
        picks = draw(hnp.arrays(np.int64, size, elements=st.integers(0, len(table) - 1)))
        return table[np.sort(picks) if shape == "runs" else picks].view(kind.dtype)
    step = draw(st.integers(-50, 50))
    ramp = np.arange(size, dtype=np.int64) * step + draw(st.integers(-1000, 1000))
    with np.errstate(over="ignore"):
        return (ramp / 100 if kind.is_float and shape == "decimal" else ramp).astype(kind.dtype)


@st.composite
def string_streams(draw: st.DrawFn, min_size: int = 0) -> Strings:
    words = draw(st.lists(st.binary(max_size=12), min_size=1, max_size=6))
    picked = st.one_of(st.sampled_from(words), st.binary(max_size=8))
    values = draw(st.lists(picked, min_size=min_size, max_size=120))
    data = np.frombuffer(b"".join(values), np.uint8)
    return Strings.of(np.array([len(value) for value in values], np.int64), data)


def streams(min_size: int = 0) -> st.SearchStrategy[Stream]:
    return st.one_of(numeric_streams(min_size=min_size), string_streams(min_size=min_size))


LEAF_TYPES = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.null()),
    *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()),
    *(pa.binary(0), pa.binary(3), pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms")),
    *(pa.time64("us"), pa.time64("ns"), pa.timestamp("s"), pa.timestamp("ns", "Europe/Paris"), pa.duration("us")),
    *(pa.decimal32(7, 2), pa.decimal64(15, 3), pa.decimal128(20, 4), pa.decimal128(38, 0), pa.decimal256(60, 5)),
    *(pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.float64(), ordered=True), pa.uuid()),
]


def arrow_types(depth: int = 2) -> st.SearchStrategy[pa.DataType]:
    leaves = st.sampled_from(LEAF_TYPES)
    if depth == 0:
        return leaves
    inner = arrow_types(depth - 1)
    names = st.sampled_from(["a", "A", "with space", "dot.ted", "ümlaut", ""])
    return st.one_of(
        leaves,
        inner.map(pa.list_),
        inner.map(pa.large_list),
        inner.map(pa.list_view),
        st.tuples(inner, st.integers(0, 3)).map(lambda pair: pa.list_(pair[0], pair[1])),
        st.tuples(st.sampled_from([pa.string(), pa.int32()]), inner).map(lambda pair: pa.map_(*pair)),
        st.lists(st.tuples(names, inner), max_size=3).map(lambda fields: pa.struct([pa.field(*f) for f in fields])),
    )


@st.composite
def arrow_arrays(draw: st.DrawFn, type_: pa.DataType | None = None, max_size: int = 25) -> pa.Array:
    """An array of a drawn type, with nulls, built from buffers so that every bit pattern occurs."""
    size = draw(st.integers(0, max_size))
    return build(draw, type_ if type_ is not None else draw(arrow_types()), size)


def build(draw: st.DrawFn, type_: pa.DataType, size: int) -> pa.Array:
    """`size` values of `type_`."""
    if isinstance(type_, pa.BaseExtensionType):
        return type_.wrap_array(build(draw, type_.storage_type, size))
    if pa.types.is_null(type_):
        return pa.nulls(size)
    valid = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), bool)
    bitmap = draw(st.sampled_from([None, pa.py_buffer(np.packbits(valid, bitorder="little"))]))
    if pa.types.is_dictionary(type_):
        entries = build(draw, type_.value_type, 4)
        indices = build_numbers(draw, type_.index_type, size, bitmap, st.integers(0, 3))
        return pa.DictionaryArray.from_arrays(indices, entries, ordered=type_.ordered)
    if pa.types.is_struct(type_):
        return pa.Array.from_buffers(type_, size, [bitmap], children=[build(draw, f.type, size) for f in type_])
    if pa.types.is_fixed_size_list(type_):
        items = build(draw, type_.value_type, size * type_.list_size)
        return pa.Array.from_buffers(type_, size, [bitmap], children=[items])
    if pa.types.is_nested(type_):
        return build_lists(draw, type_, size, bitmap)
    if pa.types.is_boolean(type_):
        values = pa.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), pa.bool_())
        return pa.Array.from_buffers(type_, size, [bitmap, values.buffers()[1]])
    if pa.types.is_fixed_size_binary(type_) and not pa.types.is_decimal(type_):
        width = type_.byte_width
        data = draw(st.binary(min_size=width * size, max_size=width * size))
        return pa.Array.from_buffers(type_, size, [bitmap, pa.py_buffer(data)])
    if type_.num_buffers == 2 and not _is_view(type_):
        return build_numbers(draw, type_, size, bitmap, None)
    texts = draw(st.lists(st.one_of(st.none(), st.text(max_size=20)), min_size=size, max_size=size))
    return pa.array(texts, pa.large_string()).cast(pa.large_binary()).cast(type_)


def build_numbers(
    draw: st.DrawFn, type_: pa.DataType, size: int, bitmap: pa.Buffer | None, elements: st.SearchStrategy | None
) -> pa.Array:
    if elements is not None:
        values = draw(hnp.arrays(np.dtype(f"<i{type_.bit_width // 8}"), size, elements=elements))
    elif pa.types.is_decimal(type_):
        small = st.integers(-(10 ** min(type_.precision, 18)) + 1, 10 ** min(type_.precision, 18) - 1)
        low = draw(hnp.arrays(np.int64, size, elements=small))
        limbs = [low if i == 0 else low >> 63 for i in range(max(1, type_.bit_width // 64))]
        values = np.stack(limbs, axis=1) if type_.bit_width >= 64 else (low % 10**7).astype(np.int32)
    else:
        values = draw(hnp.arrays(np.dtype(f"<u{type_.bit_width // 8}"), size))
    return pa.Array.from_buffers(type_, size, [bitmap, pa.py_buffer(np.ascontiguousarray(values))])


def build_lists(draw: st.DrawFn, type_: pa.DataType, size: int, bitmap: pa.Buffer | None) -> pa.Array:
    lengths = draw(hnp.arrays(np.int64, size, elements=st.integers(0, 3)))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    total = int(offsets[-1])
    width = np.int64 if pa.types.is_large_list(type_) else np.int32
    if pa.types.is_list_view(type_):
        buffers = [bitmap, pa.py_buffer(offsets[:-1].astype(width)), pa.py_buffer(lengths.astype(width))]
        return pa.Array.from_buffers(type_, size, buffers, children=[build(draw, type_.value_type, total)])
    if pa.types.is_map(type_):
        keys = pa.array([str(i) for i in range(total)]).cast(type_.key_type)
        entries = pa.struct([type_.key_field, type_.item_field])
        items = pa.Array.from_buffers(entries, total, [None], children=[keys, build(draw, type_.item_type, total)])
    else:
        items = build(draw, type_.value_type, total)
    return pa.Array.from_buffers(type_, size, [bitmap, pa.py_buffer(offsets.astype(width))], children=[items])


def _is_view(type_: pa.DataType) -> bool:
    return pa.types.is_string_view(type_) or pa.types.is_binary_view(type_)
