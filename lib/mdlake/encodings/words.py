"""Words: text as a sequence of words and of what is between them, for a dictionary to number.

A space between two words goes without saying: Moura, Navarro, Ziviani, Baeza-Yates, "Fast and flexible word searching
on compressed text" (ACM TOIS 2000), section 3, spaceless words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Strings, Writer
from mdlake.errors import CorruptError
from mdlake.kernels import words as kernel

JOINS = np.array([byte >= 128 or bytes([byte]).isalnum() for byte in range(256)])
_TRIAL, _LEAST_TOKENS, _LEAST_BYTES, _MOST_DISTINCT = 512, 3.0, 2.0, 0.4


@dataclass(frozen=True)
class Words(Encoding):
    """One child: the tokens of all strings, an empty one after each string."""

    id: ClassVar[int] = 29
    name: ClassVar[str] = "words"
    roles: ClassVar[tuple[str, ...]] = ("tokens",)
    tokens: int = 0
    text: int = 0

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Words]:
        """For strings of several tokens that are not single bytes, where the same come again."""
        if isinstance(facts.stream, Strings) and facts.count:
            tokens = _cut(facts.stream.slice(0, _TRIAL))
            few = len(tokens) < (1 + _LEAST_TOKENS) * min(facts.count, _TRIAL)
            if few or len(tokens.data) < _LEAST_BYTES * len(tokens) or facts.distinct == 1:
                return
            if Facts(tokens, len(tokens)).distinct <= _MOST_DISTINCT * len(tokens):
                yield cls()

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Words, tuple[Stream, ...]] | None:
        if not isinstance(stream, Strings):
            return None
        tokens = _cut(stream)
        return Words(len(tokens), len(tokens.data)), (tokens,)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return (Shape(Kind.STRINGS, self.tokens, self.text),)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        (tokens,) = children
        assert isinstance(tokens, Strings)
        lengths = np.zeros(shape.count, np.int64)
        found = kernel.measure(tokens.offsets, tokens.data, JOINS, lengths)
        whole = not len(tokens) or tokens.offsets[-1] == tokens.offsets[-2]
        if found != shape.count or not whole or int(lengths.sum()) != shape.text:
            raise CorruptError(f"words do not make {shape.count} strings of {shape.text} bytes")
        strings = Strings.of(lengths, np.empty(shape.text, np.uint8))
        kernel.join(tokens.offsets, tokens.data, JOINS, strings.data)
        return strings

    def write(self, writer: Writer) -> None:
        writer.varint(self.tokens)
        writer.varint(self.text)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Words:
        tokens, text = reader.varint(), reader.varint()
        if shape.kind is not Kind.STRINGS or not shape.count <= tokens <= shape.count + shape.text or text > shape.text:
            raise CorruptError(f"{tokens} words cannot make {shape.count} values of kind {shape.kind.name}")
        return cls(tokens, text)

    def __str__(self) -> str:
        return self.name


def _cut(strings: Strings) -> Strings:
    nothing = np.empty(0, np.int64), np.empty(0, np.uint8)
    count, size = kernel.cut(strings.offsets, strings.data, JOINS, *nothing, False)
    lengths, data = np.empty(count, np.int64), np.empty(size, np.uint8)
    kernel.cut(strings.offsets, strings.data, JOINS, lengths, data, True)
    return Strings.of(lengths, data)
