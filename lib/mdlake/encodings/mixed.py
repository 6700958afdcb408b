"""Mixed: symbols under adaptive contexts, of the stream itself and of other columns, by `mdlake.coding.mixing`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mdlake.coding.logarithm import log2
from mdlake.coding.mixing import (
    MAX_ALPHABET,
    MAX_CONTEXTS,
    MAX_SOURCES,
    PREVIOUS,
    Context,
    Mixing,
    leaf_depths,
    symbols_of,
)
from mdlake.coding.prequential import coarse, cost
from mdlake.encodings.known import Known, codes_beside
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Writer
from mdlake.errors import CorruptError
from mdlake.streams import kind_of, numbers

ALONE: tuple[Context, ...] = ((), ((0, 0),), ((0, 0), (1, 0)))
"""No context, the previous symbol, the two previous symbols."""
PARTS = 128
QUICK = 7
"""So many contexts, the first, are enough for an estimate."""
LIMITS = 255, 1023
_MAX_SHIFT = 31


@dataclass(frozen=True)
class Mixed(Encoding):
    """Child: the depths of the leaves of the tree that makes symbols decisions, one for each of the alphabet."""

    id: ClassVar[int] = 21
    name: ClassVar[str] = "mixed"
    table: ClassVar[int | None] = 0
    roles: ClassVar[tuple[str, ...]] = ("depths of the code",)
    contexts: tuple[Context, ...] = ()
    limit: int = LIMITS[0]
    alphabet: int = 0
    data: bytes | memoryview = b""

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Mixed]:
        if facts.kind.is_unsigned and facts.distinct > 1 and facts.high < MAX_ALPHABET:
            contexts = facts.known.hints.contexts if facts.known else ()
            yield cls((*ALONE, *contexts))

    @property
    def needs(self) -> tuple[int, ...]:
        sources = {source for context in self.contexts for source, _ in context}
        return tuple(sorted(source - PREVIOUS for source in sources if source >= PREVIOUS))

    def estimate(self, facts: Facts) -> float:
        """By a quick adaptive model on the sample's later half, when it has learned what it can there; of many symbols
        by where they are, for most of them come too seldom in a sample."""
        symbols = symbols_of(numbers(facts.stream))
        codes = codes_beside(facts.known, facts.count)
        bits = cost(symbols, self.contexts[:QUICK], codes)
        if facts.distinct > PARTS:
            _, ranks, counts = np.unique(symbols, return_inverse=True, return_counts=True)
            part = coarse(counts, PARTS)
            widths = np.bincount(part, minlength=PARTS) * (facts.full_distinct / facts.distinct)
            within = float((np.bincount(part, counts, PARTS) * log2(np.maximum(widths, 1))).sum())
            bits = min(bits, cost(part[ranks], self.contexts[:QUICK], codes) + within)
        return bits / 8 * facts.scale + 0.4 * facts.full_distinct + 40

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Mixed, tuple[Stream, ...]] | None:
        stream = numbers(stream)
        if not kind_of(stream).is_unsigned or not len(stream) or int(stream.max()) >= MAX_ALPHABET:
            return None
        symbols = symbols_of(stream)
        depths = leaf_depths(np.bincount(symbols).astype(np.int64))
        if np.count_nonzero(depths) < 2:
            return None
        codes = codes_beside(known, len(stream))
        data = Mixing(self.contexts, self.limit).encode(symbols, depths, codes)
        return Mixed(self.contexts, self.limit, len(depths), data), (depths,)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return (Shape(Kind.U8, self.alphabet),)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        codes = codes_beside(known, shape.count, self.needs)
        depths = np.ascontiguousarray(numbers(children[0]))
        symbols = Mixing(self.contexts, self.limit).decode(self.data, shape.count, depths, codes)
        return symbols.astype(shape.kind.dtype)

    def write(self, writer: Writer) -> None:
        writer.varint(self.alphabet)
        writer.varint(self.limit)
        writer.varint(len(self.contexts))
        for context in self.contexts:
            writer.varint(len(context))
            for source, shift in context:
                writer.varint(source)
                writer.byte(shift)
        writer.counted(self.data)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Mixed:
        alphabet, limit, count = reader.varint(), reader.varint(), reader.varint()
        widest = min(MAX_ALPHABET, 1 << (8 * shape.kind.width))
        if not shape.kind.is_unsigned or not 2 <= alphabet <= widest or not 1 <= limit <= LIMITS[-1]:
            raise CorruptError(f"mixed cannot code {shape.kind.name} with an alphabet of {alphabet}, limit {limit}")
        if not 1 <= count <= MAX_CONTEXTS:
            raise CorruptError(f"{count} contexts are not 1 to {MAX_CONTEXTS}")
        contexts = tuple(_read_context(reader) for _ in range(count))
        return cls(contexts, limit, alphabet, reader.counted())

    def __str__(self) -> str:
        return f"{self.name}[{len(self.contexts)}]"


def _read_context(reader: Reader) -> Context:
    count = reader.varint()
    if count > MAX_SOURCES:
        raise CorruptError(f"a context of {count} sources has more than {MAX_SOURCES}")
    sources = tuple((reader.varint(), reader.byte()) for _ in range(count))
    if any(shift > _MAX_SHIFT for _, shift in sources):
        raise CorruptError(f"a context leaves out more than {_MAX_SHIFT} bits of a code")
    return sources
