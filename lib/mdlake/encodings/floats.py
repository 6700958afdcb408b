"""Floats as integers: decimals by their digits, anything else by its bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mdlake.encodings.exceptions import WithExceptions, split
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Writer
from mdlake.errors import CorruptError
from mdlake.streams import bits_of, kind_of, numbers

MAX_DIGITS = 15
LARGEST_EXACT = float(1 << 53)


@dataclass(frozen=True)
class Decimal(WithExceptions):
    """Value = integer / 10^digits, in IEEE 754 binary64, then rounded to the float's kind: the same on every machine.

    Values that are not such decimals (NaN, -0.0, infinities, noise) are exceptions: their positions and bits are kept.
    After Afroozeh et al., "ALP: Adaptive Lossless floating-Point Compression" (SIGMOD 2024), with one divisor.
    Children: the integers (int64), the gaps between exceptions, the bits of the exceptions.
    """

    id: ClassVar[int] = 17
    name: ClassVar[str] = "decimal"
    levels: ClassVar[int] = 0
    digits: int = 0
    exceptions: int = 0

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Decimal]:
        if not facts.kind.is_float or facts.runs <= 1:
            return
        digits = decimal_digits(numbers(facts.stream))
        if np.count_nonzero(~exact_decimals(numbers(facts.stream), digits)[1]) <= 0.2 * facts.count:
            yield cls(digits)

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Decimal, tuple[Stream, ...]] | None:
        stream = numbers(stream)
        if not kind_of(stream).is_float:
            return None
        children = split(stream, *exact_decimals(stream, self.digits))
        return (Decimal(self.digits, len(children[1])), children) if children else None

    def values(self, integers: NDArray[np.int64], kind: Kind) -> np.ndarray:
        return _divide(integers, self.digits, kind)

    def write(self, writer: Writer) -> None:
        writer.byte(self.digits)
        writer.varint(self.exceptions)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Decimal:
        digits, exceptions = reader.byte(), reader.varint()
        if not shape.kind.is_float or digits > MAX_DIGITS or exceptions > shape.count:
            raise CorruptError(f"decimal({digits}) with {exceptions} exceptions cannot give {shape.kind.name}")
        return cls(digits, exceptions)

    def __str__(self) -> str:
        return f"{self.name}[{self.digits}]"


@dataclass(frozen=True)
class FloatBits(Encoding):
    """The bit patterns of floats as unsigned integers of the same width."""

    id: ClassVar[int] = 18
    name: ClassVar[str] = "float_bits"
    levels: ClassVar[int] = 0
    roles: ClassVar[tuple[str, ...]] = ("bits",)

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[FloatBits]:
        if facts.kind.is_float and facts.runs > 1:
            yield cls()

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[FloatBits, tuple[Stream, ...]] | None:
        assert isinstance(stream, np.ndarray)
        return (self, (bits_of(stream),)) if kind_of(stream).is_float else None

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return (Shape(shape.kind.unsigned, shape.count),)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        bits = numbers(children[0])
        return bits.view(shape.kind.dtype)

    def write(self, writer: Writer) -> None:
        pass

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> FloatBits:
        if not shape.kind.is_float:
            raise CorruptError(f"{shape.kind.name} has no float bits")
        return cls()

    def __str__(self) -> str:
        return self.name


def decimal_digits(values: np.ndarray) -> int:
    """How many digits after the point make the most of these floats exact; the fewest of those that do."""
    misses = [int(np.count_nonzero(~exact_decimals(values, digits)[1])) for digits in range(MAX_DIGITS + 1)]
    return int(np.argmin(misses))


def exact_decimals(values: np.ndarray, digits: int) -> tuple[np.ndarray, np.ndarray]:
    """The integers (int64) nearest to `values * 10^digits`, and where dividing gives the value back bit for bit."""
    with np.errstate(all="ignore"):
        scaled = np.rint(values.astype(np.float64) * 10.0**digits)
        within = np.abs(scaled) < LARGEST_EXACT
        integers = np.where(within, scaled, 0.0).astype(np.int64)
    back = _divide(integers, digits, kind_of(values))
    return integers, within & (bits_of(back) == bits_of(values))


def _divide(integers: np.ndarray, digits: int, kind: Kind) -> np.ndarray:
    with np.errstate(over="ignore"):
        return (integers.astype(np.float64) / 10.0**digits).astype(kind.dtype)
