"""Floats on a grid that is even in their logarithm, nearly: what a relative bound leaves of a column."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mdlake.encodings.exceptions import WithExceptions, split
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Kind, Reader, Shape, Stream, Writer
from mdlake.errors import CorruptError
from mdlake.streams import bits_of, kind_of, numbers

MAX_STEPS = 1 << 40
_LOWEST, _HIGHEST = -1100, 1100


@dataclass(frozen=True)
class Octaves(WithExceptions):
    """Each octave, from a power of two to the next, in `steps`; octave `lowest` begins at 2^lowest.

    Code 0 is 0.0; else it has the sign of the value, and with |code| - 1 = steps x e + j the value is
    2^(lowest + e) x (3 - sqrt(4 - 3 j / steps)): only operations that IEEE 754 rounds alike everywhere. The curve
    is near the logarithm: relative to themselves, neighbours differ by 3 / (4 steps) at most, 2 / (3 steps) at least.
    Not proposed for any stream: whoever has put the values on such a grid names it. Values that are not on it are
    exceptions. Children: the codes (int64), the gaps between exceptions, their bits.
    """

    id: ClassVar[int] = 32
    name: ClassVar[str] = "octaves"
    steps: int = 1
    lowest: int = 0
    exceptions: int = 0

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Octaves, tuple[Stream, ...]] | None:
        if not kind_of(stream).is_float:
            return None
        values = numbers(stream)
        codes = self.nearest(values)
        children = split(values, codes, bits_of(self.values(codes, kind_of(values))) == bits_of(values))
        return (replace(self, exceptions=len(children[1])), children) if children else None

    def nearest(self, values: np.ndarray) -> NDArray[np.int64]:
        """The codes of values about nearest to these; 0 for those below the lowest octave and for no numbers."""
        sizes = np.abs(values.astype(np.float64))
        halves, exponents = np.frexp(np.where(np.isfinite(sizes), sizes, 0.0))
        above = 2.0 * halves - 1.0
        within = np.rint((4.0 * above - above * above) / 3.0 * self.steps).astype(np.int64)
        codes = (exponents.astype(np.int64) - 1 - self.lowest) * self.steps + within + 1
        return np.where((halves > 0) & (codes > 0), np.where(np.signbit(values), -codes, codes), 0)

    def values(self, integers: NDArray[np.int64], kind: Kind) -> np.ndarray:
        octave, step = np.divmod(np.maximum(np.abs(integers), 1) - 1, self.steps)
        exponents = (np.clip(octave, 0, _HIGHEST - _LOWEST) + self.lowest).astype(np.int32)
        with np.errstate(all="ignore"):
            sizes = np.ldexp(3.0 - np.sqrt(4.0 - 3.0 * step / self.steps), exponents)
            return np.where(integers == 0, 0.0, np.copysign(sizes, integers)).astype(kind.dtype)

    def write(self, writer: Writer) -> None:
        writer.varint(self.steps)
        writer.zigzag(self.lowest)
        writer.varint(self.exceptions)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Octaves:
        steps, lowest, exceptions = reader.varint(), reader.zigzag(), reader.varint()
        fits = 1 <= steps <= MAX_STEPS and _LOWEST <= lowest <= _HIGHEST and exceptions <= shape.count
        if not shape.kind.is_float or not fits:
            raise CorruptError(f"octaves({steps}, {lowest}) cannot give {shape.count} {shape.kind.name}")
        return cls(steps, lowest, exceptions)

    def __str__(self) -> str:
        return f"{self.name}[{self.steps}]"
