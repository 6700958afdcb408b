"""Predicted: what experts that extrapolate a series, by lags, periods and columns beside it, leave to say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mdlake.coding.predicting import GROWTH, MAX_EXPERTS, MAX_LAG, STEP, Expert, Predictor, predictors
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Writer
from mdlake.errors import CorruptError
from mdlake.streams import as_int64, from_int64, kind_of, numbers

_ENOUGH = 512
_SAMPLE = 8192
_BESIDE = 3


@dataclass(frozen=True)
class Predicted(Encoding):
    """Child: the residuals, int64, one for each value. `beside`: the parents whose numbers experts use."""

    id: ClassVar[int] = 24
    name: ClassVar[str] = "predicted"
    roles: ClassVar[tuple[str, ...]] = ("residuals",)
    predictor: Predictor = Predictor(((0, 1, 0),))  # noqa: RUF009
    beside: tuple[int, ...] = ()

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Predicted]:
        if not facts.kind.is_integer or facts.distinct < _ENOUGH or facts.distinct < 0.05 * facts.count:
            return
        known = facts.known
        columns = range(len(known.parents)) if known else ()
        used = tuple(j for j in columns if known and known.numbers(j) is not None)[:_BESIDE]
        values = as_int64(numbers(facts.stream))[:_SAMPLE]
        for predictor in predictors(values, _columns(known, used, facts.count)[:, :_SAMPLE]):
            yield cls(predictor, used if any(kind >= STEP for kind, _, _ in predictor.experts) else ())

    @property
    def needs(self) -> tuple[int, ...]:
        return self.beside

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Predicted, tuple[Stream, ...]] | None:
        if not isinstance(stream, np.ndarray) or not kind_of(stream).is_integer or len(stream) == 0:
            return None
        return self, (self.predictor.residuals(as_int64(stream), _columns(known, self.beside, len(stream))),)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return (Shape(Kind.I64, shape.count),)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        if any(b >= len(self.beside) for kind, _, b in self.predictor.experts if kind in (STEP, GROWTH)):
            raise CorruptError("an expert asks for a column that is not there")
        values = self.predictor.values(numbers(children[0]), _columns(known, self.beside, shape.count))
        return from_int64(values, shape.kind)

    def write(self, writer: Writer) -> None:
        writer.varint(len(self.predictor.experts))
        for expert in self.predictor.experts:
            for field in expert:
                writer.varint(field)
        writer.varint(len(self.predictor.corrections))
        for lag in self.predictor.corrections:
            writer.varint(lag)
        writer.varint(self.predictor.phase)
        writer.varint(len(self.beside))
        for parent in self.beside:
            writer.varint(parent)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Predicted:
        experts = tuple(_read_expert(reader) for _ in range(_count(reader)))
        corrections = tuple(reader.varint() for _ in range(_count(reader)))
        phase = reader.varint()
        beside = tuple(reader.varint() for _ in range(_count(reader)))
        lags = [lag for kind, a, b in experts for lag in ((a, b) if kind in (1, 2) else (a,))]
        if (
            not shape.kind.is_integer
            or not experts
            or not all(1 <= lag <= MAX_LAG for lag in (*lags, *corrections, phase))
        ):
            raise CorruptError(f"no experts of this kind predict {shape.kind.name}: {experts}")
        return cls(Predictor(experts, corrections, phase), beside)

    def __str__(self) -> str:
        lags = sorted({a for _, a, _ in self.predictor.experts})
        return f"{self.name}[{','.join(map(str, lags))}]"


def _count(reader: Reader) -> int:
    if (count := reader.varint()) > MAX_EXPERTS:
        raise CorruptError(f"{count} experts are more than {MAX_EXPERTS}")
    return count


def _read_expert(reader: Reader) -> Expert:
    kind, a, b = reader.varint(), reader.varint(), reader.varint()
    if kind > GROWTH:
        raise CorruptError(f"there is no expert of kind {kind}")
    return kind, a, b


def _columns(known: Known | None, used: tuple[int, ...], count: int) -> np.ndarray:
    """int64 [used, count]."""
    columns = [known.numbers(parent) if known else None for parent in used]
    if any(column is None or len(column) != count for column in columns):
        raise CorruptError("an expert needs the numbers of a column that has none")
    return np.stack([c for c in columns if c is not None]) if columns else np.zeros((0, count), np.int64)
