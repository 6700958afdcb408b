"""Dictionary: each distinct value once, in order, and for each value its index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mdlake.encodings.facts import hashable
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Strings, Writer
from mdlake.errors import CorruptError
from mdlake.streams import kind_of, smallest_unsigned

MAX_ENTRIES = 1 << 20


@dataclass(frozen=True)
class Dictionary(Encoding):
    """Children: the indices, in the narrowest unsigned kind, and the distinct values, sorted by their bits."""

    id: ClassVar[int] = 12
    name: ClassVar[str] = "dictionary"
    table: ClassVar[int | None] = 1
    roles: ClassVar[tuple[str, ...]] = ("codes", "values")
    entries: int = 0
    text: int = 0

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Dictionary]:
        if not 1 < facts.full_distinct <= min(MAX_ENTRIES, 0.5 * facts.full_count):
            return
        if facts.kind.is_unsigned and facts.full_distinct > 0.7 * facts.high:
            return  # the values are as good as indices already
        yield cls()

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Dictionary, tuple[Stream, ...]] | None:
        if len(stream) == 0:
            return None
        coded = hashable(stream).dictionary_encode()
        if len(coded.dictionary) > MAX_ENTRIES:
            return None
        order = pc.call_function(
            "array_sort_indices", [coded.dictionary]
        ).to_numpy()  # sorted, so that the values themselves get short
        rank = np.empty(len(order), smallest_unsigned(len(order) - 1).dtype)
        rank[order] = np.arange(len(order), dtype=rank.dtype)
        values = from_hashable(coded.dictionary.take(pa.array(order)), kind_of(stream))
        return Dictionary(len(order), Shape.of(values).text), (rank[coded.indices.to_numpy()], values)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return Shape(smallest_unsigned(self.entries - 1), shape.count), Shape(shape.kind, self.entries, self.text)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        indices, values = children
        assert isinstance(indices, np.ndarray)
        if shape.count and int(indices.max()) >= self.entries:
            raise CorruptError(f"index {int(indices.max())} is beyond a dictionary of {self.entries} entries")
        return take(values, indices, shape.text)

    def write(self, writer: Writer) -> None:
        writer.varint(self.entries)
        writer.varint(self.text)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Dictionary:
        entries, text = reader.varint(), reader.varint()
        if not 1 <= entries <= min(MAX_ENTRIES, shape.count) or (text and shape.kind is not Kind.STRINGS):
            raise CorruptError(f"a dictionary of {entries} entries cannot serve {shape.count} values")
        return cls(entries, text)

    def __str__(self) -> str:
        return f"{self.name}[{self.entries}]"


def take(values: Stream, indices: np.ndarray, text: int | None = None) -> Stream:
    """`values[indices]`; the indices are in range.

    Raises:
        CorruptError: for strings, the result does not have `text` bytes (checked before they are made).
    """
    if isinstance(values, np.ndarray):
        return values[indices]
    found = float(values.lengths[indices].sum(dtype=np.float64))
    if text is not None and found != text:
        raise CorruptError(f"the strings have {found:.0f} bytes, expected {text}")
    return from_hashable(hashable(values).take(pa.array(indices)), Kind.STRINGS)


def from_hashable(array: pa.Array, kind: Kind) -> Stream:
    """The inverse of `facts.hashable`, for an array without offset."""
    if kind is not Kind.STRINGS:
        return array.to_numpy().view(kind.dtype)
    _, offsets, data = array.buffers()
    starts = np.frombuffer(offsets, np.int64, len(array) + 1) if offsets and offsets.size else np.zeros(1, np.int64)
    text = np.frombuffer(data, np.uint8) if data and data.size else np.zeros(0, np.uint8)
    return Strings(starts, text[: starts[-1]])
