"""How strings are cut into tokens, which of them look alike, and the columns that those make."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mdlake.encodings.joined import Piece, together
from mdlake.encodings.protocol import Stream, Strings
from mdlake.encodings.templates import MAX_PARTS, MAX_WIDTH, Part, Role, Template
from mdlake.kernels import tokens as kernel

LONGEST = 4096
"""Longer strings are not cut."""
_TRIAL, _LEAST_NAMED = 256, 0.25
_LEAST_ROWS, _LEAST_SHARE = 8, 0.005
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """`words`: whether runs of letters are tokens. `hexes`: how many hexadecimal digits that stand alone are one; 0: no
    number of them is."""

    words: bool = False
    hexes: int = 0
    upper: bool = False

    @cached_property
    def classes(self) -> NDArray[np.uint8]:
        """uint8[256], as `kernels.tokens` wants them."""
        classes = np.zeros(256, np.uint8)
        classes[[byte for byte in range(256) if bytes([byte]).isalpha() or byte >= 128]] = 2
        classes[list(b"0123456789")] = 1 | 4
        classes[list(b"ABCDEF" if self.upper else b"abcdef")] |= 4
        return classes

    def role(self, kind: int) -> Role:
        if kind == kernel.HEX:
            return Role.UPPER_HEX if self.upper else Role.LOWER_HEX
        return {kernel.BYTE: Role.LITERAL, kernel.DECIMAL: Role.DECIMAL, kernel.WORD: Role.WORD}[kind]

    def signatures(self, strings: Strings, rows: Rows) -> NDArray[np.uint64]:
        """Equal for strings that look alike, and hardly ever for others; 0 for those too long."""
        out = np.empty(len(rows), np.uint64)
        classes = self.classes
        kernel.signatures(rows, strings.offsets, strings.data, classes, self.words, self.hexes, LONGEST, out)
        return out


def worth(strings: Strings, cut: Cut, most: int) -> tuple[float, int]:
    """The share of some of the strings that the `most` frequent templates have, and how many those are; none if few
    have numbers or words."""
    rows = np.linspace(0, len(strings) - 1, min(_TRIAL, len(strings))).astype(np.int64)
    found = cut.signatures(strings, rows)
    if np.count_nonzero(found & np.uint64(1)) < _LEAST_NAMED * len(rows):
        return 0.0, 0
    counts = np.unique(found[found > 0], return_counts=True)[1]
    return float(np.sort(counts)[-most:].sum() / len(rows)), min(len(counts), most)


def look_alike(strings: Strings, cut: Cut, most: int) -> list[Rows]:
    """The rows of each of the most frequent templates, most frequent first."""
    coded = pa.array(cut.signatures(strings, np.arange(len(strings)))).dictionary_encode()
    codes = coded.indices.to_numpy()
    counts = np.bincount(codes)
    counts[coded.dictionary.to_numpy() == 0] = 0
    least = max(_LEAST_ROWS, _LEAST_SHARE * len(strings))
    chosen = [code for code in np.argsort(-counts, kind="stable")[:most] if counts[code] >= least]
    return [np.flatnonzero(codes == code) for code in chosen]


@dataclass(frozen=True, eq=False)
class _Field:
    """One token of each of some strings: where it starts in them and how long it is, uint16 [rows]."""

    role: Role
    starts: NDArray[np.uint16]
    lengths: NDArray[np.uint16]

    def where(self, fits: NDArray[np.bool_]) -> _Field:
        return _Field(self.role, self.starts[fits], self.lengths[fits])

    def numbers(self, strings: Strings, rows: Rows) -> NDArray[np.uint64]:
        values = np.empty(len(rows), np.uint64)
        kernel.parse(rows, strings.offsets, strings.data, self.starts, self.lengths, self.role.base, values)
        return values

    def least(self, values: NDArray[np.uint64]) -> tuple[int, NDArray[np.bool_]]:
        """The digits that a number is filled up to with zeros, and which numbers have just so many as that gives."""
        natural = np.zeros(len(values), np.int64)
        kernel.add_digits(values, self.role.base, 1, natural)
        filled = self.lengths[self.lengths > natural]
        least = min(int(np.bincount(filled).argmax()), MAX_WIDTH) if len(filled) else 1
        return least, self.lengths == np.maximum(natural, least)

    def words(self, strings: Strings, rows: Rows) -> Strings:
        words = Strings.of(self.lengths, np.empty(int(self.lengths.sum(dtype=np.int64)), np.uint8))
        kernel.copy(rows, strings.offsets, strings.data, self.starts, self.lengths, words.data)
        return words


def columns_of(strings: Strings, rows: Rows, cut: Cut, most: int) -> tuple[Rows, Template, list[Stream]] | None:
    """Of rows that look alike, those that one template gives back exactly, that template, and its columns; None if
    there are too few, or more than `most` fields."""
    first = strings.slice(int(rows[0]), int(rows[0]) + 1).data
    kinds, stops = np.empty(len(first), np.uint8), np.empty(len(first), np.int64)
    kinds = kinds[: kernel.tokens(first, cut.classes, cut.words, cut.hexes, kinds, stops)]
    roles = [cut.role(int(kind)) for kind in kinds]
    count = len(roles) - roles.count(Role.LITERAL)
    if count > most:
        return None
    seen = first[stops[: len(kinds)] - 1]
    starts, lengths = np.zeros((2, count, len(rows)), np.uint16)
    fits = np.empty(len(rows), bool)
    kernel.cut(
        *(rows, strings.offsets, strings.data, cut.classes, cut.words, cut.hexes),
        *(kinds, seen, starts, lengths, fits),
    )
    named = [role for role in roles if role is not Role.LITERAL]
    fields = [_Field(*field) for field in zip(named, starts, lengths, strict=True)]
    for field in fields:
        if field.role is not Role.WORD:
            fits &= field.least(field.numbers(strings, rows))[1]
    rows = rows[fits]
    if len(rows) < _LEAST_ROWS:
        return None
    rest = iter(fields)
    pieces = [
        (Part(role, bytes([byte])), None) if role is Role.LITERAL else _piece(strings, rows, next(rest).where(fits))
        for role, byte in zip(roles, seen.tolist(), strict=True)
    ]
    joined = together(_with_whole_literals(pieces))
    if len(joined) > MAX_PARTS:
        return None
    columns = [column for _, column in joined if column is not None]
    return rows, Template(len(rows), tuple(part for part, _ in joined)), columns


def _piece(strings: Strings, rows: Rows, field: _Field) -> Piece:
    """The part that a field is, and its column; a literal if it is everywhere the same."""
    start = int(strings.offsets[rows[0]]) + int(field.starts[0])
    literal = Part(Role.LITERAL, strings.data[start : start + int(field.lengths[0])].tobytes()), None
    alike = bool(np.all(field.lengths == field.lengths[0]))
    if field.role is Role.WORD:
        words = field.words(strings, rows)
        bytes_ = words.data.reshape(len(rows), -1) if alike else words.data
        same = alike and bool(np.array_equal(bytes_[1:], bytes_[:-1]))
        return literal if same else (Part(field.role, size=len(words.data)), words)
    values = field.numbers(strings, rows)
    if alike and bool(np.all(values == values[0])):
        return literal
    return Part(field.role, least=field.least(values)[0]), values


def _with_whole_literals(pieces: list[Piece]) -> list[Piece]:
    """Literals side by side as one."""
    merged: list[Piece] = []
    for part, column in pieces:
        if merged and part.role is Role.LITERAL and merged[-1][0].role is Role.LITERAL:
            merged[-1] = Part(Role.LITERAL, merged[-1][0].text + part.text), None
        else:
            merged.append((part, column))
    return merged
