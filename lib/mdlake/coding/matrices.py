"""The coder of a network's weights as integer levels: several matrices in one adaptive stream, nothing stored but it.

Made for networks that were pruned and quantised to few levels, of which a few thousand bytes are left: the model begins
with weights and rates that suit such networks (they are part of the format) and learns from there. Pruning and trained
levels as in Han, Mao and Dally, "Deep Compression" (2016), which codes runs of zeros; contexts of rows, columns and
neighbours, as DeepCABAC (Wiedemann et al., 2020) has one of, are mixed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.mixing import logistic_tables
from mdlake.coding.stream_end import ENDING, check_ending
from mdlake.errors import TruncatedError
from mdlake.kernels import matrices as kernel

LARGEST = 1 << 15
PARTS = "rows", "positions", "signs", "magnitudes"
"""What bits are spent on: which rows are all zero, which values are, signs and magnitudes of the others."""

_FIRST_STEPS, _DOUBT = 18, 20
_WEIGHTS = (
    (6029, 38141, 28966, 25559, 16384, -3276, 9830, 3801, 8716, 2162),
    (38797, 22937, 33882, 16384),
    (-13631, 14221, -7077, 32768, 9830, 9830, 14221),
)
"""Of the inputs of a position, a sign and a magnitude, in 1 / 2**16: tuned, and part of the format."""


@dataclass(frozen=True)
class Grid:
    """A matrix: `rows` rows of `channels` planes of `height` x `width`, each followed by a bias if it has one.

    Channel c is what row c of the matrix before gives, if that has as many rows as this one channels.
    """

    rows: int
    channels: int
    height: int = 1
    width: int = 1
    bias: bool = False

    @property
    def length(self) -> int:
        """Cells of a row."""
        return self.channels * self.height * self.width + self.bias

    @property
    def count(self) -> int:
        return self.rows * self.length


@dataclass(frozen=True)
class MatrixCoder:
    """`largest`: the largest magnitude, at least 1; `signed`: whether there are negative values."""

    grids: tuple[Grid, ...]
    largest: int
    signed: bool

    def encode(self, values: NDArray[np.int32]) -> bytes:
        """The stream of the values of all matrices, int32 [n]."""
        return self._encoded(values, np.zeros((len(PARTS), 0)))

    def costs(self, values: NDArray[np.int32]) -> NDArray[np.float64]:
        """Bits spent on each value, [4, n]: one line for each of `PARTS`; those of a row stand at its first value."""
        spent = np.zeros((len(PARTS), len(values)))
        self._encoded(values, spent)
        return spent

    def decode(self, data: bytes | memoryview) -> NDArray[np.int32]:
        """The values.

        Raises:
            CorruptError, TruncatedError: the stream is not one of such matrices.
        """
        stream = np.frombuffer(data, np.uint8)
        values, ending = np.zeros(sum(grid.count for grid in self.grids), np.int32), np.empty(ENDING, np.uint8)
        settled = self._run(True, values, stream, ending, np.zeros((len(PARTS), 0)))
        if settled == kernel.TOO_SHORT:
            raise TruncatedError(f"{stream.size} bytes are not all of {len(self.grids)} matrices")
        check_ending(stream, settled, ending)
        return values

    def _encoded(self, values: NDArray[np.int32], spent: NDArray[np.float64]) -> bytes:
        bits = np.bitwise_count(_filled(np.abs(values)))
        decisions = len(values) + sum(grid.rows for grid in self.grids) + 2 * int(bits.sum(dtype=np.int64))
        data = np.empty(2 * decisions + 16, np.uint8)  # none takes more than 15 bits
        return data[: self._run(False, values.copy(), np.zeros(0, np.uint8), data, spent)].tobytes()

    def _run(
        self,
        decoding: bool,
        values: NDArray[np.int32],
        coming: NDArray[np.uint8],
        going: NDArray[np.uint8],
        spent: NDArray[np.float64],
    ) -> int:
        shapes = np.array([[g.rows, g.channels, g.height, g.width, g.bias] for g in self.grids], np.int64)
        counters = np.full(kernel.TABLES * kernel.TABLE, kernel.FRESH, np.uint32)
        counters[kernel.DEAD * kernel.TABLE] = kernel.SELDOM
        return kernel.code_matrices(
            decoding, values, shapes, self.largest, self.signed, _fixed(), counters, _weights(), coming, going, spent
        )


def _filled(numbers: np.ndarray) -> np.ndarray:
    """All bits below the highest set, too."""
    numbers = numbers.astype(np.uint32)
    for shift in (1, 2, 4, 8, 16):
        numbers |= numbers >> shift
    return numbers


@cache
def _fixed() -> kernel.Fixed:
    squash, stretch = logistic_tables()
    seen = np.arange(kernel.SEEN + 1)
    return kernel.Fixed(stretch, squash, 655360 // (10 * seen + _FIRST_STEPS), 2560 * seen // (10 * seen + _DOUBT))


def _weights() -> NDArray[np.int64]:
    """The weights at first: for each kind of decision those of the first sets; the second ones begin with none."""
    weights = np.zeros((3 * 2 * kernel.SETS, kernel.INPUTS), np.int64)
    for kind, first in enumerate(_WEIGHTS):
        weights[2 * kernel.SETS * kind : kernel.SETS * (2 * kind + 1), : len(first)] = first
    return weights
