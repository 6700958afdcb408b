"""Floats on an even grid: what is left of a column that may differ from its source by an absolute bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mdlake.encodings.exceptions import WithExceptions, split
from mdlake.encodings.floats import LARGEST_EXACT
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Kind, Reader, Shape, Stream, Writer
from mdlake.errors import CorruptError
from mdlake.streams import bits_of, kind_of, numbers

MAX_DIGITS = 300


@dataclass(frozen=True)
class Scaled(WithExceptions):
    """Value = integer x multiplier / 10^digits in IEEE 754 binary64, then rounded to the float's kind.

    Not proposed for any stream: whoever has put the values on a grid names it. `digits` may be negative. Values that
    are not on the grid are exceptions. Children: the integers (int64), the gaps between exceptions, their bits.
    """

    id: ClassVar[int] = 27
    name: ClassVar[str] = "scaled"
    multiplier: int = 1
    digits: int = 0
    exceptions: int = 0

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Scaled, tuple[Stream, ...]] | None:
        if not kind_of(stream).is_float:
            return None
        values = numbers(stream)
        integers = self.nearest(values)
        exact = bits_of(self.values(integers, kind_of(values))) == bits_of(values)
        children = split(values, integers, exact)
        return (Scaled(self.multiplier, self.digits, len(children[1])), children) if children else None

    @property
    def step(self) -> float:
        """The distance between neighbours on the grid, as exactly as binary64 has it."""
        return self._scaled(np.array([1.0]))[0]

    def nearest(self, values: np.ndarray) -> NDArray[np.int64]:
        """The integers of the grid's values nearest to these; 0 for values far outside of it and for no numbers."""
        with np.errstate(all="ignore"):
            ratios = np.rint(values.astype(np.float64) / self.step)
            return np.where(np.abs(ratios) < LARGEST_EXACT, ratios, 0.0).astype(np.int64)

    def values(self, integers: NDArray[np.int64], kind: Kind) -> np.ndarray:
        with np.errstate(all="ignore"):
            return self._scaled(integers.astype(np.float64)).astype(kind.dtype)

    def _scaled(self, integers: NDArray[np.float64]) -> NDArray[np.float64]:
        product, power = integers * float(self.multiplier), float(f"1e{abs(self.digits)}")
        return product / power if self.digits >= 0 else product * power

    def write(self, writer: Writer) -> None:
        writer.varint(self.multiplier)
        writer.zigzag(self.digits)
        writer.varint(self.exceptions)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Scaled:
        multiplier, digits, exceptions = reader.varint(), reader.zigzag(), reader.varint()
        fits = 1 <= multiplier < LARGEST_EXACT and abs(digits) <= MAX_DIGITS and exceptions <= shape.count
        if not shape.kind.is_float or not fits:
            raise CorruptError(f"scaled({multiplier}, {digits}) cannot give {shape.count} {shape.kind.name}")
        return cls(multiplier, digits, exceptions)

    def __str__(self) -> str:
        return f"{self.name}[{self.multiplier}e{-self.digits}]"
