"""Small programs over the strings and numbers of a row: what a composed string is put together from.

Pieces one after another: bytes that are always the same; a part of a parent's string, between two places in it, perhaps
in another case; a number as a decimal text; and, once at most, a rest that is not explained. FORMAT.md, "composed", has
them. Places by bytes and by delimiters are those of Gulwani, "Automating string processing in spreadsheets using
input-output examples" (POPL 2011), section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from mdlake.errors import CorruptError
from mdlake.expressions import Expression
from mdlake.kernels import composing as kernel
from mdlake.kernels.composing import AS_IS, BEFORE, BEHIND, BEHIND_LAST, CAPITAL, FROM_END, FROM_START
from mdlake.streams import Strings
from mdlake.wire import Reader, Writer

MAX_PIECES = 32
MAX_LEAST, MAX_DECIMALS = 64, 18
MAX_COUNT = 1 << 32
_SHOWN = 24
CASES = "as is", "lower", "upper", "capital"
Chosen = NDArray[np.bool_]
Lengths = NDArray[np.int64]


class Rows(Protocol):
    """What is beside the strings that are composed."""

    @property
    def count(self) -> int: ...

    def strings(self, parent: int) -> Strings | None: ...

    def numbers(self, parent: int) -> NDArray[np.int64] | None: ...


@dataclass(frozen=True)
class Place:
    """A place in a string: so many bytes from its start or end, or at the count-th `byte`, from 0."""

    how: int = FROM_START
    count: int = 0
    byte: int = 0

    @property
    def fields(self) -> tuple[int, int, int]:
        return self.how, self.count, self.byte

    def write(self, writer: Writer) -> None:
        writer.byte(self.how)
        writer.varint(self.count)
        if self.how >= BEFORE:
            writer.byte(self.byte)

    @staticmethod
    def read(reader: Reader) -> Place:
        how, count = reader.byte(), reader.varint()
        if how > BEHIND_LAST or count >= MAX_COUNT:
            raise CorruptError(f"a string has no place {how} at {count}")
        return Place(how, count, reader.byte() if how >= BEFORE else 0)

    def __str__(self) -> str:
        if self.how <= FROM_END:
            return str(self.count) if self.how == FROM_START else f"-{self.count}" if self.count else ""
        number = self.count + 1 if self.how <= BEHIND else -self.count - 1
        return f"{'behind' if self.how in (BEHIND, BEHIND_LAST) else 'before'} {chr(self.byte)!r} {number}"


START, END = Place(FROM_START), Place(FROM_END)


class Piece:
    """A part of a composed string; this one is nothing. `source` is what it takes of the rows, looked up once."""

    role: ClassVar[int]

    @property
    def parents(self) -> tuple[int, ...]:
        return ()

    def renumbered(self, places: Mapping[int, int]) -> Piece:
        return self

    def source(self, rows: Rows) -> Strings | NDArray[np.int64] | None:
        return None

    def add_lengths(self, source: object, chosen: Chosen, lengths: Lengths) -> None:
        """Adds to the length of each chosen row's string."""

    def put(self, source: object, chosen: Chosen, at: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Writes that of each chosen row at `at[i]`, which moves behind it."""

    def write(self, writer: Writer) -> None:
        """Appends the fields."""


@dataclass(frozen=True)
class Literal(Piece):
    role: ClassVar[int] = 0
    text: bytes

    def add_lengths(self, source: object, chosen: Chosen, lengths: Lengths) -> None:
        lengths += len(self.text) * chosen

    def put(self, source: object, chosen: Chosen, at: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        kernel.put_literal(np.frombuffer(self.text, np.uint8), chosen, at, out)

    def write(self, writer: Writer) -> None:
        writer.counted(self.text)

    def __str__(self) -> str:
        return repr(self.text[:_SHOWN])[1:] + "..." * (len(self.text) > _SHOWN)


@dataclass(frozen=True)
class Cut(Piece):
    """A parent's string from one place to another; nothing if the second is not behind the first."""

    role: ClassVar[int] = 1
    parent: int
    first: Place = START
    last: Place = END
    case: int = AS_IS

    @property
    def parents(self) -> tuple[int, ...]:
        return (self.parent,)

    def renumbered(self, places: Mapping[int, int]) -> Cut:
        return replace(self, parent=places[self.parent])

    def source(self, rows: Rows) -> Strings:
        if (found := rows.strings(self.parent)) is None:
            raise CorruptError(f"a composed string asks for the strings of parent {self.parent}, which has none")
        return found

    def add_lengths(self, source: object, chosen: Chosen, lengths: Lengths) -> None:
        assert isinstance(source, Strings)
        kernel.add_cuts(source.offsets, source.data, self.first.fields, self.last.fields, chosen, lengths)

    def put(self, source: object, chosen: Chosen, at: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        assert isinstance(source, Strings)
        where = self.first.fields, self.last.fields
        kernel.put_cuts(source.offsets, source.data, *where, self.case, chosen, at, out)

    def write(self, writer: Writer) -> None:
        writer.varint(self.parent)
        writer.byte(self.case)
        self.first.write(writer)
        self.last.write(writer)

    def __str__(self) -> str:
        whole = f"parent{self.parent}"
        if (self.first, self.last) != (START, END):
            whole += f"[{self.first}:{self.last}]"
        return f"{CASES[self.case]}({whole})" if self.case else whole


@dataclass(frozen=True)
class Number(Piece):
    """What an expression gives, in decimal: a minus below 0, at least `least` digits, a point before the last ones."""

    role: ClassVar[int] = 2
    expression: Expression
    least: int = 1
    decimals: int = 0

    @property
    def parents(self) -> tuple[int, ...]:
        return self.expression.parents

    def renumbered(self, places: Mapping[int, int]) -> Number:
        return replace(self, expression=self.expression.renumbered(places))

    def source(self, rows: Rows) -> NDArray[np.int64]:
        return self.expression.evaluate(rows.numbers, rows.count)

    def add_lengths(self, source: object, chosen: Chosen, lengths: Lengths) -> None:
        kernel.add_numbers(source, self.least, self.decimals, chosen, lengths)

    def put(self, source: object, chosen: Chosen, at: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        lengths = np.zeros(len(at), np.int64)
        self.add_lengths(source, chosen, lengths)
        kernel.put_numbers(source, self.least, self.decimals, chosen, lengths, at, out)

    def write(self, writer: Writer) -> None:
        writer.byte(self.least)
        writer.byte(self.decimals)
        self.expression.write(writer)

    def __str__(self) -> str:
        form = f":{self.least}.{self.decimals}" if (self.least, self.decimals) != (1, 0) else ""
        return f"text({self.expression}{form})"


@dataclass(frozen=True)
class Rest(Piece):
    """What no piece explains."""

    role: ClassVar[int] = 3

    def __str__(self) -> str:
        return "rest"


@dataclass(frozen=True)
class Composition:
    pieces: tuple[Piece, ...]

    @property
    def parents(self) -> tuple[int, ...]:
        return tuple(sorted({parent for piece in self.pieces for parent in piece.parents}))

    @property
    def has_rest(self) -> bool:
        return any(isinstance(piece, Rest) for piece in self.pieces)

    def renumbered(self, places: Mapping[int, int]) -> Composition:
        return Composition(tuple(piece.renumbered(places) for piece in self.pieces))

    def around_rest(self) -> tuple[Composition, Composition]:
        """What is before the rest, and what behind it; all, and nothing, where there is none."""
        at = next((place for place, piece in enumerate(self.pieces) if isinstance(piece, Rest)), len(self.pieces))
        return Composition(self.pieces[:at]), Composition(self.pieces[at + 1 :])

    def strings(self, rows: Rows) -> Strings:
        """What the pieces give, without the rest."""
        chosen = np.ones(rows.count, bool)
        lengths, put = self.over(rows, chosen)
        strings = Strings.of(lengths, np.empty(int(lengths.sum()), np.uint8))
        put(None, strings.offsets[:-1].copy(), strings.data)
        return strings

    def over(self, rows: Rows, chosen: Chosen) -> tuple[Lengths, _Put]:
        """How long the strings of the chosen rows get without their rests, and what writes them.

        Raises:
            CorruptError: a parent has no strings, or no numbers, or the program is none.
        """
        sources = [piece.source(rows) for piece in self.pieces]
        lengths = np.zeros(rows.count, np.int64)
        for piece, source in zip(self.pieces, sources, strict=True):
            piece.add_lengths(source, chosen, lengths)

        def put(rest: Strings | None, at: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
            for piece, source in zip(self.pieces, sources, strict=True):
                if not isinstance(piece, Rest):
                    piece.put(source, chosen, at, out)
                elif rest is not None:
                    kernel.put_cuts(rest.offsets, rest.data, START.fields, END.fields, AS_IS, chosen, at, out)

        return lengths, put

    def write(self, writer: Writer) -> None:
        writer.byte(len(self.pieces))
        for piece in self.pieces:
            writer.byte(piece.role)
            piece.write(writer)

    @staticmethod
    def read(reader: Reader) -> Composition:
        if not 1 <= (count := reader.byte()) <= MAX_PIECES:
            raise CorruptError(f"a composed string of {count} pieces, not 1 to {MAX_PIECES}")
        found = Composition(tuple(_read_piece(reader) for _ in range(count)))
        if sum(isinstance(piece, Rest) for piece in found.pieces) > 1:
            raise CorruptError("a composed string has more than one rest")
        return found

    def __str__(self) -> str:
        return " ".join(map(str, self.pieces))


class _Put(Protocol):
    """Writes string i at `at[i]`, which moves behind it."""

    def __call__(self, rest: Strings | None, at: NDArray[np.int64], out: NDArray[np.uint8]) -> None: ...


def _read_piece(reader: Reader) -> Piece:
    role = reader.byte()
    if role == Literal.role:
        return Literal(bytes(reader.counted()))
    if role == Cut.role:
        parent, case = reader.varint(), reader.byte()
        if case > CAPITAL:
            raise CorruptError(f"a composed string knows no case {case}")
        return Cut(parent, Place.read(reader), Place.read(reader), case)
    if role == Number.role:
        least, decimals = reader.byte(), reader.byte()
        if not 1 <= least <= MAX_LEAST or decimals > MAX_DECIMALS:
            raise CorruptError(f"a number of {least} digits, {decimals} behind the point, cannot be written")
        return Number(Expression.read(reader), least, decimals)
    if role != Rest.role:
        raise CorruptError(f"a piece of a string is of unknown role {role}")
    return Rest()
