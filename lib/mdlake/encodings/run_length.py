"""Run length: each run of one value as the value and how often it comes again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mdlake.encodings.dictionary import take
from mdlake.encodings.facts import starts_new_run
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Writer
from mdlake.errors import CorruptError
from mdlake.streams import UNSIGNED, smallest_unsigned


@dataclass(frozen=True)
class RunLength(Encoding):
    """Children: the value of each run, and its length minus one."""

    id: ClassVar[int] = 11
    name: ClassVar[str] = "run_length"
    roles: ClassVar[tuple[str, ...]] = ("values", "lengths")
    runs: int = 0
    kind: Kind = Kind.U32
    text: int = 0

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[RunLength]:
        if 1 < facts.runs <= 0.6 * facts.count:
            yield cls()

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[RunLength, tuple[Stream, ...]] | None:
        if len(stream) == 0:
            return None
        starts = np.concatenate([[0], np.flatnonzero(starts_new_run(stream)) + 1])
        values = take(stream, starts)
        again = np.diff(starts, append=len(stream)) - 1
        kind = smallest_unsigned(int(again.max()))
        return RunLength(len(starts), kind, Shape.of(values).text), (values, again.astype(kind.dtype))

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return Shape(shape.kind, self.runs, self.text), Shape(self.kind, self.runs)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        values, again = children
        assert isinstance(again, np.ndarray)
        if again.sum(dtype=np.float64) + self.runs != shape.count:
            raise CorruptError(f"run lengths do not add up to {shape.count} values")
        return take(values, np.repeat(np.arange(self.runs), again.astype(np.int64) + 1), shape.text)

    def write(self, writer: Writer) -> None:
        writer.varint(self.runs)
        writer.byte(self.kind)
        writer.varint(self.text)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> RunLength:
        runs, kind, text = reader.varint(), reader.byte(), reader.varint()
        if not 1 <= runs <= shape.count or kind not in UNSIGNED.values() or text > shape.text:
            raise CorruptError(f"{runs} runs cannot give {shape.count} values")
        return cls(runs, Kind(kind), text)

    def __str__(self) -> str:
        return self.name
