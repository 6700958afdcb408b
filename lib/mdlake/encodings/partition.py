"""Partition: symbols apart by what is known beside them, those of a cluster of contexts together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.clustering import MOST, clusters
from mdlake.coding.mixing import PREVIOUS
from mdlake.coding.prequential import cost
from mdlake.encodings.known import Known, codes_beside
from mdlake.encodings.lookup import MAX_PARENTS, keys_of, read_parents
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Writer
from mdlake.errors import CorruptError
from mdlake.streams import kind_of, numbers

MAX_ALPHABET = 4096
MAX_PARTS = 256
_LEAST = 1024
_PART = 24.0
"""Bytes a part takes beyond its symbols, about."""


@dataclass(frozen=True)
class Partition(Encoding):
    """Children: the part of each key that occurs, by key (as `lookup` has keys); then the symbols of each part."""

    id: ClassVar[int] = 26
    name: ClassVar[str] = "partition"
    levels: ClassVar[int] = 16
    table: ClassVar[int | None] = 0
    roles: ClassVar[tuple[str, ...]] = ("part of each key", "symbols of a part")
    parents: tuple[int, ...] = ()
    keys: int = 0
    counts: tuple[int, ...] = ()
    remains: float = 1.0

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Partition]:
        if not facts.known or not facts.kind.is_unsigned or facts.full_count < _LEAST or facts.high >= MAX_ALPHABET:
            return
        hints = facts.known.hints
        for context, remains in zip(hints.contexts, hints.remains, strict=False) if facts.runs > 1 else ():
            parents = tuple(source - PREVIOUS for source, _ in context)
            if parents and min(parents) >= 0 and len(parents) <= MAX_PARENTS:
                yield cls(parents, remains=remains)

    @property
    def needs(self) -> tuple[int, ...]:
        return self.parents

    def estimate(self, facts: Facts) -> float:
        """By a quick adaptive model of the sample, or by what is known of all; and a part for some thousand values."""
        context = tuple((PREVIOUS + parent, 0) for parent in self.parents)
        bits = cost(numbers(facts.stream), ((), context), codes_beside(facts.known, facts.count)) * facts.scale
        bits = min(bits, self.remains * facts.entropy * facts.full_count)
        return bits / 8 + _PART * min(MOST, facts.full_count // 4096) + facts.distinct

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Partition, tuple[Stream, ...]] | None:
        found = keys_of(known, self.parents) if known else None
        if found is None or not kind_of(stream).is_unsigned or len(stream) == 0:
            return None
        symbols = numbers(stream)
        if (high := int(symbols.max())) >= MAX_ALPHABET:
            return None
        keys, count = found
        parts = clusters(keys, count, symbols.astype(np.intp), high + 1)
        return self.by(parts, keys, symbols) if parts.any() else None

    def by(
        self, parts: NDArray[np.uint8], keys: NDArray[np.intp], symbols: np.ndarray
    ) -> tuple[Partition, tuple[Stream, ...]]:
        """The symbols of these keys in these parts, uint8 [keys], all of which occur."""
        of = parts[keys]
        counts = np.bincount(of)
        together = symbols[np.argsort(of, kind="stable")]
        children = np.split(together, np.cumsum(counts)[:-1])
        return Partition(self.parents, len(parts), tuple(counts.tolist())), (parts, *children)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return Shape(Kind.U8, self.keys), *(Shape(shape.kind, count) for count in self.counts)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        parts, *symbols = map(numbers, children)
        found = keys_of(known, self.parents) if known and known.count == shape.count else None
        if found is None or found[1] != self.keys:
            raise CorruptError(f"a partition by {self.keys} keys does not fit the columns it needs")
        of = parts[found[0]]
        if np.bincount(of, minlength=len(symbols)).tolist() != list(self.counts):
            raise CorruptError(f"the parts of a partition do not have {self.counts} values")
        result = np.empty(shape.count, shape.kind.dtype)
        result[np.argsort(of, kind="stable")] = np.concatenate(symbols)
        return result

    def write(self, writer: Writer) -> None:
        writer.byte(len(self.parents))
        for parent in self.parents:
            writer.varint(parent)
        writer.varint(self.keys)
        writer.varint(len(self.counts))
        for count in self.counts:
            writer.varint(count)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Partition:
        parents, keys, parts = read_parents(reader), reader.varint(), reader.varint()
        if not shape.kind.is_unsigned or not 2 <= parts <= MAX_PARTS or not 2 <= keys <= shape.count:
            raise CorruptError(f"no partition of {shape.count} {shape.kind.name} by {keys} keys in {parts} parts")
        counts = tuple(reader.varint() for _ in range(parts))
        if min(counts) < 1 or sum(counts) != shape.count:
            raise CorruptError(f"parts of {counts} values are not {shape.count}")
        return cls(parents, keys, counts)

    def __str__(self) -> str:
        return f"{self.name}[{len(self.counts)}]"
