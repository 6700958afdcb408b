"""Composed: a string as what a program puts together from other columns of its row, and the exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mdlake.compositions import Composition
from mdlake.encodings.dictionary import take
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Strings, Writer
from mdlake.errors import CorruptError
from mdlake.kernels import composing as kernel
from mdlake.kernels.tokens import put_strings
from mdlake.streams import numbers

LEAST_SHARE = 0.5
"""An encoder has no use for a program that does not fit so many of the strings."""


@dataclass(frozen=True)
class Composed(Encoding):
    """Children: the gaps between exceptions, the exceptions, and the rest of each string if the program leaves one."""

    id: ClassVar[int] = 34
    name: ClassVar[str] = "composed"
    composition: Composition = field(default=Composition(()))
    exceptions: int = 0
    exception_text: int = 0
    rest_text: int = 0

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Composed]:
        if facts.known and facts.kind is Kind.STRINGS and facts.runs > 1:
            for composition in facts.known.hints.compositions:
                yield cls(composition)

    @property
    def needs(self) -> tuple[int, ...]:
        return self.composition.parents

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Composed, tuple[Stream, ...]] | None:
        if known is None or not isinstance(stream, Strings) or not 0 < len(stream) < 1 << 32:
            return None
        heads, tails = (part.strings(known) for part in self.composition.around_rest())
        fits = np.empty(len(stream), bool)
        has_rest = self.composition.has_rest
        strings = stream.offsets, stream.data
        kernel.match(*strings, heads.offsets, heads.data, tails.offsets, tails.data, not has_rest, fits)
        missed = np.flatnonzero(~fits)
        if len(missed) > (1 - LEAST_SHARE) * len(stream):
            return None
        gaps, apart = np.diff(missed, prepend=-1).astype(np.uint32), take(stream, missed)
        step = replace(self, exceptions=len(missed), exception_text=Shape.of(apart).text)
        if not has_rest:
            return step, (gaps, apart)
        rest = _between(stream, heads.lengths, tails.lengths, fits)
        return replace(step, rest_text=len(rest.data)), (gaps, apart, rest)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        apart = Shape(Kind.U32, self.exceptions), Shape(Kind.STRINGS, self.exceptions, self.exception_text)
        return (*apart, Shape(Kind.STRINGS, shape.count, self.rest_text)) if self.composition.has_rest else apart

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        gaps, apart, *rests = children
        if known is None or known.count != shape.count:
            raise CorruptError("a composed string needs columns that are not there")
        positions = np.cumsum(numbers(gaps), dtype=np.int64) - 1
        if self.exceptions and (int(numbers(gaps).min()) < 1 or int(positions[-1]) >= shape.count):
            raise CorruptError(f"an exception lies outside the {shape.count} values")
        assert isinstance(apart, Strings)
        rest = rests[0] if rests and isinstance(rests[0], Strings) else None
        fits = np.ones(shape.count, bool)
        fits[positions] = False
        lengths, put = self.composition.over(known, fits)
        if rest is not None:
            lengths += rest.lengths * fits
        lengths[positions] = apart.lengths
        if lengths.sum(dtype=np.float64) != shape.text:
            raise CorruptError(f"strings put together from other columns do not have {shape.text} bytes")
        strings = Strings.of(lengths, np.empty(shape.text, np.uint8))
        put(rest, strings.offsets[:-1].copy(), strings.data)
        put_strings(apart.offsets, apart.data, strings.offsets[positions], strings.data)
        return strings

    def write(self, writer: Writer) -> None:
        writer.varint(self.exceptions)
        writer.varint(self.exception_text)
        self.composition.write(writer)
        if self.composition.has_rest:
            writer.varint(self.rest_text)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Composed:
        exceptions, exception_text = reader.varint(), reader.varint()
        composition = Composition.read(reader)
        rest_text = reader.varint() if composition.has_rest else 0
        if shape.kind is not Kind.STRINGS or not shape.count:
            raise CorruptError(f"no program composes {shape.count} values of kind {shape.kind.name}")
        if exceptions > shape.count or exception_text > shape.text:
            raise CorruptError(f"{exceptions} exceptions cannot be among {shape.count} strings of {shape.text} bytes")
        return cls(composition, exceptions, exception_text, rest_text)

    def __str__(self) -> str:
        return f"{self.name}[{self.composition}]"


def _between(stream: Strings, heads: NDArray[np.int64], tails: NDArray[np.int64], fits: NDArray[np.bool_]) -> Strings:
    """The rest of each string; an exception repeats the one before it, so that it disturbs no pattern."""
    rows = np.maximum.accumulate(np.where(fits, np.arange(len(stream)), 0))
    lengths = np.where(fits, stream.lengths - heads - tails, 0)[rows]
    rest = Strings.of(lengths, np.empty(int(lengths.sum()), np.uint8))
    kernel.cut(stream.offsets, stream.data, rows, heads[rows], lengths, rest.data)
    return rest
