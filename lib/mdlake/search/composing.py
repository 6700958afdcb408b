"""Compositions searched: strings of a column as parts of other columns' strings, numbers as text, and constant bytes.

Values of a few rows are explained from the left, then from the right, by what a reference row suggests: where its value
goes on as another column does, the places where that part begins and ends are described in all ways there are, and the
way that explains most of all rows is taken; else a byte that nearly all rows have; else the rest is left. What that
leaves is measured on more rows. Candidates from one example, intersected with the others, are the idea of Gulwani,
"Automating string processing in spreadsheets using input-output examples" (POPL 2011), sections 4 and 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from mdlake.coding.logarithm import entropy
from mdlake.coding.prequential import bits, chances
from mdlake.compositions import MAX_PIECES, Composition, Cut, Literal, Piece, Rest
from mdlake.encodings.composed import Composed
from mdlake.encodings.facts import hashable
from mdlake.encodings.known import Codes, Known, Parent
from mdlake.expressions import Expression
from mdlake.search.dates import parts_of, ticks_of_day
from mdlake.search.order import Option
from mdlake.search.pieces import as_text, cuts
from mdlake.streams import Strings

FEW, MANY = 32, 1024
REFERENCES = 3
LEAST_ROWS = 8
USEFUL = 0.75
"""A composition leaves no more than this share of what a column takes alone."""
GOOD = 0.05
"""One that leaves no more than this ends the search."""
_ALIKE, _NEARLY, _ENOUGH = 0.7, 0.9, 0.5
"""What share of the rows a piece must explain; a constant byte; all pieces together."""
_TEXT = 3.0
"""Bits that a byte of text takes, about."""
_LONGEST = 1024
"""Bytes of a string, on average; columns of longer ones are left alone."""
_STEPS = 64
"""So many pieces at most, constant bytes one by one, are tried from each side."""


@dataclass(frozen=True)
class Written:
    """A composition for a column: what share of it is left, and how many bytes its values have on average. Bytes that
    are always the same count nowhere: other encodings spare them too."""

    composition: Composition
    share: float
    length: float


class Compositions:
    """What is searched in: columns of strings and of numbers, by position."""

    def __init__(self, columns: Mapping[int, Parent]) -> None:
        any_ = next(iter(columns.values()))
        self._parents = tuple(columns.get(j, any_) for j in range(max(columns) + 1))
        self._strings = {j for j, column in columns.items() if _is_short(column.strings)}
        self._usable = {j for j, column in columns.items() if j in self._strings or column.numbers is not None}
        self._few, self._many = (self._rows(size) for size in (FEW, MANY))
        self._texts: dict[Piece, list[bytes]] = {}
        self._numbers: dict[int, list[tuple[Expression, list[int]]]] = {}

    def _rows(self, size: int) -> Known:
        count = len(self._parents[0])
        rows = np.linspace(0, count - 1, min(size, count)).astype(np.intp)
        return Known(self._parents, len(rows), rows)

    @property
    def columns(self) -> list[int]:
        return sorted(self._strings)

    def of(self, target: int, among: Sequence[int]) -> list[Written]:
        """Compositions for a column over some others, those first that leave least of it."""
        self._texts.clear()
        values = self.texts(Cut(target))
        rows = [row for row, value in enumerate(values) if value]
        if len(rows) < LEAST_ROWS:
            return []
        strings = self._many.strings(target)
        assert strings is not None
        known = self._many.where(strings.lengths > 0)
        found: dict[Composition, Written] = {}
        others = [j for j in among if j != target and j in self._usable]
        for reference in rows[:: len(rows) // REFERENCES][:REFERENCES]:
            alignment = _Alignment(self, values, rows, reference, others)
            composition = alignment.composition()
            if composition and (written := _measured(composition, target, known)) and written.share < USEFUL:
                found[composition] = written
                if written.share < GOOD:
                    break
        return sorted(found.values(), key=lambda written: written.share)

    def priced(self, options: Sequence[Option], written: Sequence[Written], codes: Codes) -> Iterator[Option]:
        """A column's options beside its compositions. These spare the text of distinct strings; no other does."""
        text = (int(codes.max()) + 1) * written[0].length * _TEXT if written else 0.0
        yield from (replace(option, bits=option.bits + text) for option in options)
        for one in written:
            whole = options[0].bits + text
            yield Option(options[0].column, frozenset(one.composition.parents), one.share * whole)

    def texts(self, piece: Piece) -> list[bytes]:
        """What a piece is in each of the few rows."""
        if piece not in self._texts:
            made = Composition((piece,)).strings(self._few)
            data, ends = made.data.tobytes(), made.offsets.tolist()
            self._texts[piece] = [data[start:end] for start, end in pairwise(ends)]
        return self._texts[piece]

    def is_text(self, column: int) -> bool:
        return column in self._strings

    def numbers(self, column: int) -> list[tuple[Expression, list[int]]]:
        """What of a column's numbers may be written, and these in each of the few rows: digits, parts of dates."""
        if column not in self._numbers:
            values = self._few.numbers(column)
            assert values is not None
            x = Expression.parent(column)
            expressions = [x, x("//", 100), x("%", 100)]
            if ticks := ticks_of_day(values):
                parts = parts_of(x, ticks)
                expressions += [*parts, parts[0]("%", 100)]
            made = ((one, one.evaluate(self._few.numbers, self._few.count).tolist()) for one in expressions)
            self._numbers[column] = list(made)
        return self._numbers[column]


def _is_short(strings: Strings | None) -> bool:
    return strings is not None and len(strings.data) <= _LONGEST * len(strings)


class _Alignment:
    """How far the values of a few rows are explained, and in which rows they are so at all."""

    def __init__(
        self, given: Compositions, values: list[bytes], rows: list[int], reference: int, among: Sequence[int]
    ) -> None:
        self._given, self._values, self._reference, self._among = given, values, reference, among
        self._least = _ENOUGH * len(rows)
        self._alive = rows
        self._low = [0] * len(values)
        self._high = [len(value) for value in values]

    def composition(self) -> Composition | None:
        """The pieces from the left and those from the right, the rest between them; None if they use no column."""
        left, right = self._extend(True), self._extend(False)[::-1]
        if not any(piece.parents for piece in (*left, *right)):
            return None
        done = [row for row in self._alive if self._low[row] == self._high[row]]
        whole = len(done) >= _NEARLY * len(self._alive)
        return Composition(tuple(_merged([*left, *([] if whole else [Rest()]), *right])))

    def _extend(self, forward: bool) -> list[Piece]:
        pieces: list[Piece] = []
        for _ in range(_STEPS):
            left = self._low[self._reference] < self._high[self._reference]
            if not left or len(_merged(pieces)) >= MAX_PIECES // 2 - 1 or (piece := self._next(forward)) is None:
                break
            self._take(piece, forward)
            pieces.append(piece)
        return pieces

    def _hits(self, texts: list[bytes], forward: bool) -> list[int]:
        values, low, high = self._values, self._low, self._high
        if forward:
            return [row for row in self._alive if values[row].startswith(texts[row], low[row], high[row])]
        return [row for row in self._alive if values[row].endswith(texts[row], low[row], high[row])]

    def _take(self, piece: Piece, forward: bool) -> None:
        texts = self._given.texts(piece)
        self._alive = self._hits(texts, forward)
        for row in self._alive:
            if forward:
                self._low[row] += len(texts[row])
            else:
                self._high[row] -= len(texts[row])

    def _next(self, forward: bool) -> Piece | None:
        """The piece that explains most; bytes of values that it does not fit count against it.

        A part of another column that is always the same tells nothing: that is left to constant bytes.
        """
        best, most = None, 0
        for piece in self._proposals(forward):
            texts = self._given.texts(piece)
            hits = self._hits(texts, forward)
            if piece.parents and len({texts[row] for row in hits}) < 2:
                continue
            gain = sum(len(texts[row]) for row in hits)
            sure = len(hits) >= (_ALIKE if gain > 1.5 * len(hits) else _NEARLY) * len(self._alive)
            if sure and len(hits) >= self._least:
                gain -= sum(len(self._values[row]) for row in set(self._alive).difference(hits))
                if gain > most:
                    best, most = piece, gain
        return best

    def _proposals(self, forward: bool) -> Iterator[Piece]:
        """What the reference row's value may go on with, a constant byte first."""
        row = self._reference
        value = self._values[row][self._low[row] : self._high[row]]
        yield Literal(value[:1] if forward else value[-1:])
        for column in self._among:
            if self._given.is_text(column):
                yield from cuts(column, self._given.texts(Cut(column))[row], value, forward)
            else:
                for expression, numbers in self._given.numbers(column):
                    yield from as_text(expression, numbers[row], value, forward)


def _merged(pieces: Sequence[Piece]) -> list[Piece]:
    """Literals side by side as one."""
    merged: list[Piece] = []
    for piece in pieces:
        before = merged[-1] if merged else None
        if isinstance(piece, Literal) and isinstance(before, Literal):
            merged[-1] = Literal(before.text + piece.text)
        else:
            merged.append(piece)
    return merged


def _measured(composition: Composition, target: int, known: Known) -> Written | None:
    values = known.strings(target)
    assert values is not None
    encoded = Composed(composition).encode(values, known)
    if encoded is None:
        return None
    missed = encoded[0].exceptions / len(values)
    flags = entropy(np.array([missed, 1 - missed])) * len(values) if missed else 0.0
    left = flags + sum(bits_of_strings(child) for child in encoded[1] if isinstance(child, Strings))
    constant = sum(len(piece.text) for piece in composition.pieces if isinstance(piece, Literal))
    whole = max(bits_of_strings(values, constant), 1.0)
    return Written(composition, left / whole, max(len(values.data) / len(values) - constant, 0.0))


def bits_of_strings(strings: Strings, constant: int = 0) -> float:
    """Bits of strings with no context: the common ones by their chances, the text of each once, less so many bytes."""
    if len(strings) == 0:
        return 0.0
    coded = hashable(strings).dictionary_encode()
    text = sum(max(len(value) - constant, 0) for value in coded.dictionary.to_pylist())
    return bits(chances(coded.indices.to_numpy().astype(np.uint32), ())) + _TEXT * text
