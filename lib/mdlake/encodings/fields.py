"""Fields: strings that look alike, as columns of the numbers and words in them.

Strings are cut into tokens (runs of digits, of hexadecimal digits, of letters; other bytes). Those with the same tokens
share a template, in which every number and every word is a column of its own; the others stay as they are. The idea is
that of Bonfield, "CRAM 3.1: advances in the CRAM file format" (Bioinformatics, 2022), section 2.4, read names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from mdlake.encodings.dictionary import take
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Strings, Writer
from mdlake.encodings.templates import Template
from mdlake.encodings.tokens import Cut, columns_of, look_alike, worth
from mdlake.errors import CorruptError
from mdlake.kernels import tokens as kernel
from mdlake.streams import numbers

CUTS = Cut(), Cut(hexes=2), Cut(hexes=2, upper=True), Cut(words=True), Cut(words=True, hexes=4)
MAX_TEMPLATES = 15
MAX_COLUMNS = 32
_LEAST_STRINGS = 16
_LEAST_SHARES = 0.5, 0.8
"""What share of the strings a few templates must have, with words as literals and as columns."""


@dataclass(frozen=True)
class Fields(Encoding):
    """Children: for each string its template (0: none), the strings without one, and each template's columns.

    `cut` is how an encoder finds the templates; a decoder has them, and it is not stored.
    """

    id: ClassVar[int] = 28
    name: ClassVar[str] = "fields"
    roles: ClassVar[tuple[str, ...]] = ("templates", "other strings", "field")
    cut: Cut = CUTS[0]
    templates: tuple[Template, ...] = ()
    text: int = 0

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Fields]:
        """The ways to cut by which the most strings look alike, or as many in fewer ways."""
        if not isinstance(facts.stream, Strings) or facts.count < _LEAST_STRINGS or not len(facts.stream.data):
            return
        most, fewest = 0.0, MAX_TEMPLATES + 1
        for cut in CUTS:
            share, templates = worth(facts.stream, cut, MAX_TEMPLATES)
            better = share > most + 0.05 or (share >= most and 2 * templates <= fewest)
            if better and share > _LEAST_SHARES[cut.words]:
                yield cls(cut)
                most, fewest = share, templates

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Fields, tuple[Stream, ...]] | None:
        if not isinstance(stream, Strings) or len(stream) == 0:
            return None
        places = np.zeros(len(stream), np.uint8)
        templates: list[Template] = []
        columns: list[Stream] = []
        for rows in look_alike(stream, self.cut, MAX_TEMPLATES):
            if (found := columns_of(stream, rows, self.cut, MAX_COLUMNS - len(columns))) is not None:
                templates.append(found[1])
                columns.extend(found[2])
                places[found[0]] = len(templates)
        if not columns:
            return None
        rest = take(stream, np.flatnonzero(places == 0))
        return Fields(self.cut, tuple(templates), Shape.of(rest).text), (places, rest, *columns)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        rest = shape.count - sum(template.rows for template in self.templates)
        columns = (column for template in self.templates for column in template.shapes)
        return Shape(Kind.U8, shape.count), Shape(Kind.STRINGS, rest, self.text), *columns

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        places, rest, *columns = children
        counts = np.bincount(numbers(places), minlength=1 + len(self.templates))
        if counts.tolist() != [len(rest), *(template.rows for template in self.templates)]:
            raise CorruptError("the templates of the strings are not as many as their fields say")
        assert isinstance(rest, Strings)
        order = np.argsort(numbers(places), kind="stable")
        groups = np.split(order, np.cumsum(counts)[:-1])
        own = self._columns(tuple(columns))
        lengths = np.empty(shape.count, np.int64)
        lengths[groups[0]] = rest.lengths
        for template, rows, made in zip(self.templates, groups[1:], own, strict=True):
            lengths[rows] = template.lengths(made)
        if lengths.sum(dtype=np.float64) != shape.text:
            raise CorruptError(f"strings put together from fields do not have {shape.text} bytes")
        strings = Strings.of(lengths, np.empty(shape.text, np.uint8))
        kernel.put_strings(rest.offsets, rest.data, strings.offsets[groups[0]], strings.data)
        for template, rows, made in zip(self.templates, groups[1:], own, strict=True):
            template.put(made, strings.offsets[rows], strings.data)
        return strings

    def _columns(self, columns: tuple[Stream, ...]) -> list[tuple[Stream, ...]]:
        ends = np.cumsum([0, *(len(template.shapes) for template in self.templates)]).tolist()
        return [columns[start:end] for start, end in pairwise(ends)]

    def write(self, writer: Writer) -> None:
        writer.varint(self.text)
        writer.byte(len(self.templates))
        for template in self.templates:
            template.write(writer)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Fields:
        text, count = reader.varint(), reader.byte()
        if shape.kind is not Kind.STRINGS or not 1 <= count <= MAX_TEMPLATES or text > shape.text:
            raise CorruptError(f"{count} templates cannot give {shape.count} values of kind {shape.kind.name}")
        templates = tuple(Template.read(reader) for _ in range(count))
        if sum(template.rows for template in templates) > shape.count:
            raise CorruptError(f"the templates have more strings than the {shape.count} of the column")
        return cls(CUTS[0], templates, text)

    def __str__(self) -> str:
        return f"{self.name}[{len(self.templates)}]"
