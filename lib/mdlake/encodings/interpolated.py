"""Interpolated: a smooth series of floats on a grid, as what interpolation leaves to say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.interpolating import foretold, levels
from mdlake.encodings.exceptions import put_back, split
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Reader, Shape, Stream, Writer
from mdlake.encodings.scaled import Scaled
from mdlake.errors import CorruptError
from mdlake.streams import bits_of, kind_of, numbers

MAX_STEP = 1 << 20

Correction = Callable[[NDArray[np.int64], NDArray[np.intp]], NDArray[np.int64]]
"""From what is foretold, and of which places, to how many steps to add."""


@dataclass(frozen=True)
class Interpolated(Encoding):
    """Integer on the grid = what is foretold of it + step x correction; the grid is that of `scaled`.

    Not proposed for any stream: whoever has put the values on a grid, steps from where they are foretold, names it.
    Values for which there is no correction are exceptions. Children: the corrections (int64) in the order of
    `coding.interpolating.levels`, the first that of place 0; the gaps between exceptions, their bits.
    """

    id: ClassVar[int] = 33
    name: ClassVar[str] = "interpolated"
    roles: ClassVar[tuple[str, ...]] = ("corrections", "places of exceptions", "exceptions")
    repairs: ClassVar[tuple[int, ...]] = (1, 2)
    grid: Scaled = Scaled()  # noqa: RUF009
    step: int = 1

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Interpolated, tuple[Stream, ...]] | None:
        if not kind_of(stream).is_float or len(stream) == 0:
            return None
        values = numbers(stream)
        wanted = self.grid.nearest(values)
        on_grid = bits_of(self.grid.values(wanted, kind_of(values))) == bits_of(values)

        def correction(guess: NDArray[np.int64], places: NDArray[np.intp]) -> NDArray[np.int64]:
            found, rest = np.divmod(wanted[places] - guess, self.step)
            return np.where(on_grid[places] & (rest == 0), found, 0)

        integers, corrections = self.run(len(values), correction)
        exact = bits_of(self.grid.values(integers, kind_of(values))) == bits_of(values)
        children = split(values, integers, exact)
        if children is None:
            return None
        found = replace(self, grid=replace(self.grid, exceptions=len(children[1])))
        return found, (corrections, *children[1:])

    def run(self, count: int, correction: Correction) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The integers, and the corrections that lead to them, both int64 [count], the latter in order of levels."""
        integers = np.zeros(count, np.int64)
        first = np.zeros(1, np.intp)
        corrections = [correction(integers[first], first)]
        integers[first] += self.step * corrections[0]
        for stride, places in levels(count):
            guess = foretold(integers, stride, places)
            corrections.append(correction(guess, places))
            integers[places] = guess + self.step * corrections[-1]
        return integers, np.concatenate(corrections)

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return self.grid.children(shape)

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        corrections, gaps, bits = map(numbers, children)
        at = 0

        def correction(guess: NDArray[np.int64], places: NDArray[np.intp]) -> NDArray[np.int64]:
            nonlocal at
            at += len(places)
            return corrections[at - len(places) : at]

        values = self.grid.values(self.run(shape.count, correction)[0], shape.kind)
        put_back(values, gaps, bits)
        return values

    def write(self, writer: Writer) -> None:
        self.grid.write(writer)
        writer.varint(self.step)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Interpolated:
        grid, step = Scaled.read(reader, shape), reader.varint()
        if shape.count == 0 or not 1 <= step <= MAX_STEP:
            raise CorruptError(f"interpolated with step {step} cannot give {shape.count} {shape.kind.name}")
        return cls(grid, step)

    def __str__(self) -> str:
        return f"{self.name}[{self.grid.multiplier}e{-self.grid.digits},{self.step}]"
