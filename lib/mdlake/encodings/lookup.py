"""Lookup: a value that follows from one or two other columns, by a table, and the exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from mdlake.encodings.dictionary import take
from mdlake.encodings.facts import hashable
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Strings, Writer
from mdlake.errors import CorruptError
from mdlake.kernels import majority
from mdlake.streams import bits_of

MAX_KEYS = 1 << 22
MAX_PARENTS = 2


@dataclass(frozen=True)
class Lookup(Encoding):
    """Children: the value of each key that occurs, by key; the gaps between exceptions; their values.

    A key is the code of the first parent, times one more than the largest code of the second, plus the code of that.
    """

    id: ClassVar[int] = 25
    name: ClassVar[str] = "lookup"
    table: ClassVar[int | None] = 0
    roles: ClassVar[tuple[str, ...]] = ("values", "places of exceptions", "exceptions")
    repairs: ClassVar[tuple[int, ...]] = (1, 2)
    parents: tuple[int, ...] = ()
    keys: int = 0
    text: int = 0
    exceptions: int = 0
    exception_text: int = 0

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Lookup]:
        if facts.known and facts.runs > 1:
            for parents in facts.known.hints.lookups:
                yield cls(parents)

    @property
    def needs(self) -> tuple[int, ...]:
        return self.parents

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Lookup, tuple[Stream, ...]] | None:
        if (
            known is None
            or len(stream) == 0
            or len(stream) >= 1 << 32
            or (found := keys_of(known, self.parents)) is None
        ):
            return None
        keys, count = found
        winners, votes = np.zeros(count, np.int64), np.zeros(count, np.uint32)
        majority.vote(keys, _row_of_each_value(stream), winners, votes)
        values = take(stream, winners)
        missed = np.flatnonzero(_differ(stream, take(values, keys)))
        gaps = np.diff(missed, prepend=-1).astype(np.uint32)
        rest = take(stream, missed)
        step = Lookup(self.parents, count, Shape.of(values).text, len(missed), Shape.of(rest).text)
        return step, (values, gaps, rest)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        values = Shape(shape.kind, self.keys, self.text)
        return values, Shape(Kind.U32, self.exceptions), Shape(shape.kind, self.exceptions, self.exception_text)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        values, gaps, rest = children
        found = keys_of(known, self.parents) if known and known.count == shape.count else None
        if found is None or found[1] != self.keys or not isinstance(gaps, np.ndarray):
            raise CorruptError(f"a lookup of {self.keys} keys does not fit the columns it needs")
        positions = np.cumsum(gaps, dtype=np.int64) - 1
        if self.exceptions and (int(gaps.min()) < 1 or int(positions[-1]) >= shape.count):
            raise CorruptError(f"an exception lies outside the {shape.count} values")
        if isinstance(values, np.ndarray) and isinstance(rest, np.ndarray):
            result = values[found[0]]
            result[positions] = rest
            return result
        every, picks = _both(values, rest), found[0].copy()
        picks[positions] = self.keys + np.arange(self.exceptions)
        return take(every, picks, shape.text)

    def write(self, writer: Writer) -> None:
        writer.byte(len(self.parents))
        for parent in self.parents:
            writer.varint(parent)
        for field in (self.keys, self.text, self.exceptions, self.exception_text):
            writer.varint(field)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Lookup:
        parents = read_parents(reader)
        keys, text, exceptions, exception_text = (reader.varint() for _ in range(4))
        if not 1 <= keys <= min(MAX_KEYS, shape.count) or exceptions > shape.count:
            raise CorruptError(f"a lookup of {keys} keys and {exceptions} exceptions cannot give {shape.count} values")
        if (text or exception_text) and shape.kind is not Kind.STRINGS:
            raise CorruptError(f"a lookup of {shape.kind.name} has no text")
        return cls(parents, keys, text, exceptions, exception_text)

    def __str__(self) -> str:
        return f"{self.name}[{self.keys}]"


def read_parents(reader: Reader) -> tuple[int, ...]:
    """One parent or two."""
    if not 1 <= (count := reader.byte()) <= MAX_PARENTS:
        raise CorruptError(f"a key of {count} columns is not of one or two")
    return tuple(reader.varint() for _ in range(count))


def keys_of(known: Known, parents: tuple[int, ...]) -> tuple[NDArray[np.intp], int] | None:
    """For each value its key's place among those that occur, and how many occur; None if there are too many."""
    if not parents or max(parents) >= len(known.parents) or known.count == 0:
        return None
    keys = known.codes_of(parents[0]).astype(np.int64)
    for parent in parents[1:]:
        codes = known.codes_of(parent)
        keys = keys * (int(codes.max()) + 1) + codes
    if (largest := int(keys.max())) >= MAX_KEYS:
        return None
    present = np.zeros(largest + 1, np.intp)
    present[keys] = 1
    places = np.cumsum(present) - 1
    return places[keys], int(places[-1]) + 1


def _row_of_each_value(stream: Stream) -> NDArray[np.int64]:
    """For each value the row where it, or its equal, was first seen."""
    coded = hashable(stream).dictionary_encode()
    codes = coded.indices.to_numpy()
    firsts = np.zeros(len(coded.dictionary), np.int64)
    firsts[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return firsts[codes]


def _differ(left: Stream, right: Stream) -> NDArray[np.bool_]:
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return bits_of(np.ascontiguousarray(left)) != bits_of(np.ascontiguousarray(right))
    return pc.call_function("not_equal", [hashable(left), hashable(right)]).to_numpy(zero_copy_only=False)


def _both(one: Stream, other: Stream) -> Strings:
    assert isinstance(one, Strings) and isinstance(other, Strings)
    return Strings.of(np.concatenate([one.lengths, other.lengths]), np.concatenate([one.data, other.data]))
