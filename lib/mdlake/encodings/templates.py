"""Templates: what strings that look alike have in common, and the columns that their differences make.

A template is parts in order: literal bytes, numbers and words. Numbers side by side may share one column, as the digits
of a number in mixed radix do: a date and a time are then one number that rises.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from mdlake.encodings.protocol import Kind, Reader, Shape, Stream, Strings, Writer
from mdlake.errors import CorruptError
from mdlake.kernels import tokens as kernel
from mdlake.streams import UNSIGNED, numbers

MAX_PARTS = 255
MAX_WIDTH = 64


class Role(IntEnum):
    """What a part is; the numbers are part of the block format."""

    LITERAL = 0
    DECIMAL = 1
    LOWER_HEX = 2
    UPPER_HEX = 3
    WORD = 4

    @property
    def base(self) -> int:
        return 10 if self is Role.DECIMAL else 16


@dataclass(frozen=True)
class Part:
    """`text`: of a literal. `least`: the digits a number has at least. `radix`: 0 begins a column, of `kind`; else the
    number is the next digit, below `radix`, of the column before. `size`: the bytes of all words of a column."""

    role: Role
    text: bytes = b""
    least: int = 1
    radix: int = 0
    kind: Kind = Kind.U64
    size: int = 0

    @property
    def begins(self) -> bool:
        """Whether it has a column of its own, or is the first of one."""
        return self.role is Role.WORD or (self.role is not Role.LITERAL and self.radix == 0)

    def write(self, writer: Writer) -> None:
        writer.byte(self.role)
        if self.role is Role.LITERAL:
            writer.counted(self.text)
        elif self.role is Role.WORD:
            writer.varint(self.size)
        else:
            writer.byte(self.least)
            writer.varint(self.radix)
            if self.begins:
                writer.byte(self.kind)

    @classmethod
    def read(cls, reader: Reader, before: Part | None) -> Part:
        number = reader.byte()
        if number > max(Role):
            raise CorruptError(f"a part of a template is of unknown role {number}")
        part = cls(Role(number))
        if part.role is Role.LITERAL:
            return replace(part, text=bytes(reader.counted()))
        if part.role is Role.WORD:
            return replace(part, size=reader.varint())
        part = replace(part, least=reader.byte(), radix=reader.varint())
        if not 1 <= part.least <= MAX_WIDTH or (part.radix and before is None):
            raise CorruptError(f"a number of {part.least} digits and radix {part.radix} cannot stand here")
        if not part.begins:
            return part
        if (kind := reader.byte()) not in UNSIGNED.values():
            raise CorruptError(f"numbers of kind {kind} are not unsigned")
        return replace(part, kind=Kind(kind))


@dataclass(frozen=True)
class Template:
    """The parts that `rows` strings have."""

    rows: int
    parts: tuple[Part, ...]

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Its columns."""
        return tuple(
            Shape(Kind.STRINGS, self.rows, part.size) if part.role is Role.WORD else Shape(part.kind, self.rows)
            for part in self.parts
            if part.begins
        )

    def lengths(self, columns: tuple[Stream, ...]) -> NDArray[np.int64]:
        """How long the strings are."""
        lengths = np.full(self.rows, sum(len(part.text) for part in self.parts), np.int64)
        for part, column, below in self._fields(columns):
            if isinstance(column, Strings):
                lengths += column.lengths
            elif part.radix and part.radix <= part.role.base**part.least:
                lengths += part.least
            else:
                kernel.add_digits(_digit(column, below, part.radix), part.role.base, part.least, lengths)
        return lengths

    def put(self, columns: tuple[Stream, ...], at: NDArray[np.int64], data: NDArray[np.uint8]) -> None:
        """Writes string i at `at[i]`, which moves behind it."""
        fields = iter(self._fields(columns))
        for part in self.parts:
            if part.role is Role.LITERAL:
                kernel.put_literal(np.frombuffer(part.text, np.uint8), at, data)
                continue
            _, column, below = next(fields)
            if isinstance(column, Strings):
                kernel.put_strings(column.offsets, column.data, at, data)
            else:
                letter = ord("a" if part.role is Role.LOWER_HEX else "A") - 10
                values = _digit(column, below, part.radix)
                kernel.put_numbers(values, part.role.base, letter, part.least, at, data)

    def _fields(self, columns: tuple[Stream, ...]) -> list[tuple[Part, Stream, int]]:
        """For each part that is no literal, its column, and by what to divide that until the part is the last digit."""
        fields: list[tuple[Part, Stream, int]] = []
        rest, below = list(columns), 1
        for part in reversed(self.parts):
            if part.role is not Role.LITERAL:
                fields.append((part, rest[-1], below))
                below = 1 if part.begins else below * part.radix
                if part.begins:
                    rest.pop()
        return fields[::-1]

    def write(self, writer: Writer) -> None:
        writer.varint(self.rows)
        writer.varint(len(self.parts))
        for part in self.parts:
            part.write(writer)

    @classmethod
    def read(cls, reader: Reader) -> Template:
        rows, count = reader.varint(), reader.varint()
        if count > MAX_PARTS:
            raise CorruptError(f"a template of {count} parts has more than {MAX_PARTS}")
        parts: list[Part] = []
        before, span = None, 1
        for _ in range(count):
            part = Part.read(reader, before)
            parts.append(part)
            if part.role is Role.WORD:
                before = None
            elif part.role is not Role.LITERAL:
                before, span = part, 1 if part.begins else span * part.radix
            if span >= 1 << 64:
                raise CorruptError("the numbers of one column exceed 64 bits")
        return cls(rows, tuple(parts))


def _digit(column: Stream, below: int, radix: int) -> NDArray[np.uint64]:
    """The digit of each number in a column; the first has all that is left."""
    values = numbers(column).astype(np.uint64, copy=False)
    if below > 1:
        values = values // np.uint64(below)
    return values - values // np.uint64(radix) * np.uint64(radix) if radix else values
