"""FORMAT.md, Streams of a column: what the streams of a block are by the Arrow type of the column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.types as is_

from .block import Block
from .parents import parent_of
from .reader import Kind, Parent, Values, check, signed


def decode_column(data: bytes, type_: pa.DataType, parents: Mapping[int, Parent]) -> Values:
    """The values of a block: None, integers, bits of floats, bytes, lists (a struct is one, a map one of them)."""
    block = Block.of(data)
    values = Column(block, block.beside(parents)).array(type_, block.length)
    block.reader.end()
    return values


@dataclass
class Column:
    """A column, or what is nested in one, and the parents beside the streams of its own."""

    block: Block
    parents: tuple[Parent, ...] = ()

    def stream(self, count: int, kind: Kind | None = None, parents: tuple[Parent, ...] = ()) -> Values:
        found, values = self.block.stream(parents)
        check(len(values) == count and kind in (None, found), "stream")
        return values

    def inner(self, type_: pa.DataType, length: int) -> Values:
        return Column(self.block).array(type_, length)

    def array(self, type_: pa.DataType, length: int) -> Values:
        if isinstance(type_, pa.BaseExtensionType):
            type_ = type_.storage_type
        if is_.is_null(type_):
            return [None] * length
        validity = self.stream(length, Kind.U8, self.parents)
        valid = [row for row, one in enumerate(validity) if one]
        values = iter(self.valid(type_, len(valid), tuple(keep(parent, valid) for parent in self.parents)))
        return [next(values) if one else None for one in validity]

    def valid(self, type_: pa.DataType, count: int, parents: tuple[Parent, ...]) -> Values:
        """The values that are not null; `parents` are beside them."""
        if is_.is_dictionary(type_):
            (entries,) = self.stream(1, Kind.I64)
            index = self.stream(count, None, parents)
            dictionary = self.inner(type_.value_type, entries)
            return [dictionary[i] for i in index]
        if is_.is_struct(type_):
            return rows_of([self.inner(field.type, count) for field in type_], count)
        if is_.is_fixed_size_list(type_):
            return cut(self.inner(type_.value_type, count * type_.list_size), [type_.list_size] * count)
        if is_.is_nested(type_):
            lengths = self.stream(count, Kind.I64, parents)
            items = pa.struct([type_.key_field, type_.item_field]) if is_.is_map(type_) else type_.value_type
            return cut(self.inner(items, sum(lengths)), lengths)
        if is_.is_decimal128(type_) or is_.is_decimal256(type_):
            return self.limbs(type_.bit_width, count, parents)
        return self.stream(count, None, parents)

    def limbs(self, bits: int, count: int, parents: tuple[Parent, ...]) -> Values:
        (narrow,) = self.stream(1, Kind.U8, parents if count == 1 else ())
        low = self.stream(count, Kind.I64, parents)
        if narrow:
            return low
        limbs = [low, *(self.stream(count, Kind.U64, parents) for _ in range(bits // 64 - 1))]
        return [
            signed(sum(limb % 2**64 << 64 * place for place, limb in enumerate(row)), bits)
            for row in zip(*limbs, strict=True)
        ]


def keep(parent: Parent, rows: list[int]) -> Parent:
    numbers = None if parent.numbers is None else [parent.numbers[row] for row in rows]
    strings = None if parent.strings is None else [parent.strings[row] for row in rows]
    return Parent([parent.codes[row] for row in rows], numbers, strings)


def cut(items: Iterable[Any], lengths: list[int]) -> Values:
    following = iter(items)
    return [list(islice(following, length)) for length in lengths]


def rows_of(fields: list[Values], count: int) -> Values:
    return [[field[row] for field in fields] for row in range(count)]


# What an Arrow array holds, in the same words.


def values_of(array: pa.Array) -> Values:
    type_ = array.type
    if isinstance(array, pa.ExtensionArray):
        return values_of(array.storage)
    if isinstance(array, pa.DictionaryArray):
        dictionary = values_of(array.dictionary)
        return [None if i is None else dictionary[i] for i in array.indices.to_pylist()]
    if isinstance(array, pa.StructArray):
        rows = rows_of([values_of(array.field(place)) for place in range(type_.num_fields)], len(array))
        return [row if one else None for row, one in zip(rows, array.is_valid().to_pylist(), strict=True)]
    if is_.is_nested(type_):
        return [None if item is None else values_of(item) for item in map(items_of, array)]
    if is_.is_floating(type_):
        bits = array.view(f"uint{type_.bit_width}")
        return bits.to_pylist()
    if is_.is_decimal(type_):
        return [None if value is None else int(value.scaleb(type_.scale)) for value in array.to_pylist()]
    if is_.is_temporal(type_):
        return array.view(f"int{type_.bit_width}").to_pylist()
    if is_.is_string(type_) or is_.is_large_string(type_) or is_.is_string_view(type_):
        return [None if value is None else value.encode() for value in array.to_pylist()]
    return array.to_pylist()


def items_of(scalar: Any) -> pa.Array | None:
    return scalar.values if scalar.is_valid else None


def parent_of_column(values: Values, type_: pa.DataType) -> Parent:
    """What a column gives to those beside it."""
    if is_.is_floating(type_):
        return parent_of(values, {16: Kind.F16, 32: Kind.F32, 64: Kind.F64}[type_.bit_width])
    text = any(isinstance(value, bytes) for value in values)
    return parent_of(values, Kind.STRINGS if text else Kind.I64)
