"""Formula: a value as what an expression over other columns does not explain of it.

`how` says what remains: the difference `value - f`; the quotient `value // f`, with the remainder beside it; the
difference on a clock of 1440 minutes, for times written HHMM; the difference on a circle as large as the values'
range, for days of the week and other remainders. What comes back is corrected by the second child, which is all zeros
where the formula fits exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Writer
from mdlake.errors import CorruptError
from mdlake.expressions import Expression, Numbers, clock, floor_divide, minutes
from mdlake.streams import as_int64, from_int64, kind_of, numbers

HOW = "difference", "quotient", "clock", "residue"
DAY = 1440
LARGEST_CIRCLE = 1 << 40
Circle = tuple[int, int]
"""The least value on it, and how many there are; (0, 1) where none is meant."""


def circle_of(how: str, values: Numbers) -> Circle:
    """Where these values lie, for a residue."""
    low, high = (int(values.min()), int(values.max())) if how == "residue" and values.size else (0, 0)
    return (low, high - low + 1) if high - low < LARGEST_CIRCLE else (0, 1)


def unexplained(how: str, values: Numbers, explained: Numbers, circle: Circle) -> Numbers:
    """What remains of the values."""
    if how == "residue":
        return (values - circle[0] - explained) % circle[1]
    if how == "quotient":
        return floor_divide(values, explained)
    if how == "clock":
        return (minutes(values) - explained) % DAY
    return values - explained


def parts(how: str, values: Numbers, explained: Numbers) -> tuple[Numbers, Numbers]:
    """What remains of the values, and the corrections."""
    circle = circle_of(how, values)
    remains = unexplained(how, values, explained, circle)
    return remains, values - explained_again(how, remains, explained, circle)


def explained_again(how: str, remains: Numbers, explained: Numbers, circle: Circle) -> Numbers:
    """The values, up to a correction."""
    if how == "residue":
        return (remains + explained) % circle[1] + circle[0]
    if how == "quotient":
        return remains * explained
    if how == "clock":
        return clock((remains + explained) % DAY)
    return remains + explained


@dataclass(frozen=True)
class Formula(Encoding):
    """Children, both int64 and one for each value: what remains, and the corrections."""

    id: ClassVar[int] = 23
    name: ClassVar[str] = "formula"
    roles: ClassVar[tuple[str, ...]] = ("remainder", "corrections")
    repairs: ClassVar[tuple[int, ...]] = (1,)
    how: str = HOW[0]
    expression: Expression = field(default=Expression(()))
    circle: Circle = (0, 1)

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Formula]:
        if facts.known and facts.kind.is_integer and facts.runs > 1:
            for how, expression in facts.known.hints.formulas:
                yield cls(how, expression)

    @property
    def needs(self) -> tuple[int, ...]:
        return self.expression.parents

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Formula, tuple[Stream, ...]] | None:
        if known is None or not kind_of(stream).is_integer:
            return None
        values = as_int64(numbers(stream))
        explained = self.expression.evaluate(known.numbers, known.count)
        return replace(self, circle=circle_of(self.how, values)), parts(self.how, values, explained)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return Shape(Kind.I64, shape.count), Shape(Kind.I64, shape.count)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        if known is None or known.count != shape.count:
            raise CorruptError("a formula needs columns that are not there")
        remains, corrections = map(numbers, children)
        explained = self.expression.evaluate(known.numbers, known.count)
        values = explained_again(self.how, remains, explained, self.circle) + corrections
        return from_int64(values, shape.kind)

    def write(self, writer: Writer) -> None:
        writer.byte(HOW.index(self.how))
        if self.how == "residue":
            writer.zigzag(self.circle[0])
            writer.varint(self.circle[1])
        self.expression.write(writer)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Formula:
        how = reader.byte()
        if how >= len(HOW) or not shape.kind.is_integer:
            raise CorruptError(f"no formula of way {how} gives {shape.kind.name}")
        circle = (reader.zigzag(), reader.varint()) if HOW[how] == "residue" else (0, 1)
        if not 1 <= circle[1] <= LARGEST_CIRCLE or not -(1 << 63) <= circle[0] < 1 << 63:
            raise CorruptError(f"a formula on a circle of {circle[1]} values from {circle[0]} on")
        return cls(HOW[how], Expression.read(reader), circle)

    def __str__(self) -> str:
        return f"{self.name}[{self.how} {self.expression}]"

    def told(self, names: Sequence[str]) -> str:
        return f"{self.name}[{self.how} {self.expression.told(names.__getitem__)}]"
