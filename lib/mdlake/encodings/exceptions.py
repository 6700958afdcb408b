"""Values that an encoding cannot give: where they lie and their bits, kept beside the rest."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Kind, Shape, Stream
from mdlake.errors import CorruptError
from mdlake.streams import bits_of, numbers


class WithExceptions(Encoding):
    """Floats as integers, but for some. Children: the integers (int64), the gaps between exceptions, their bits."""

    roles: ClassVar[tuple[str, ...]] = ("integers", "places of exceptions", "exceptions")
    repairs: ClassVar[tuple[int, ...]] = (1, 2)
    exceptions: int

    def values(self, integers: NDArray[np.int64], kind: Kind) -> np.ndarray:
        """The floats of this kind that the integers stand for."""
        raise NotImplementedError

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        exceptions = Shape(Kind.U32, self.exceptions), Shape(shape.kind.unsigned, self.exceptions)
        return Shape(Kind.I64, shape.count), *exceptions

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        integers, gaps, bits = map(numbers, children)
        values = self.values(integers, shape.kind)
        put_back(values, gaps, bits)
        return values


def split(
    values: np.ndarray, integers: NDArray[np.int64], exact: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.uint32], np.ndarray] | None:
    """Integers for the exact values, and the exceptions: the gaps between them and their bits.

    An exception repeats the integer before it, so that it disturbs no pattern. None for 2^32 values or more.
    """
    if len(values) >= 1 << 32:
        return None
    missed = np.flatnonzero(~exact)
    if len(missed):
        last_exact = np.maximum.accumulate(np.where(exact, np.arange(len(values)), 0))
        integers = integers[last_exact]
    return integers, np.diff(missed, prepend=-1).astype(np.uint32), bits_of(values)[missed]


def put_back(values: np.ndarray, gaps: np.ndarray, bits: np.ndarray) -> None:
    """Sets the exceptions in `values`, in place.

    Raises:
        CorruptError: one lies outside of them.
    """
    positions = np.cumsum(gaps, dtype=np.int64) - 1
    if len(gaps) and (int(gaps.min()) < 1 or int(positions[-1]) >= len(values)):
        raise CorruptError(f"an exception lies outside the {len(values)} values")
    bits_of(values)[positions] = bits
