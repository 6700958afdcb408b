"""What is cheaply known of a stream: the basis on which encodings propose themselves.

Facts are of a sample; `full_count` says how long the whole stream is. Each is computed once, when first asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mdlake.encodings.known import Known
from mdlake.kernels import diversity
from mdlake.streams import Kind, Stream, Strings, bits_of, kind_of

_DENSE = 8
"""Times as many places as values make a table that is filled by the values themselves."""


@dataclass(frozen=True, eq=False)
class Facts:
    """Facts of `stream`, a sample of a stream of `full_count` values, and what is known beside the sample."""

    stream: Stream
    full_count: int
    known: Known | None = None

    @cached_property
    def kind(self) -> Kind:
        return kind_of(self.stream)

    @property
    def count(self) -> int:
        return len(self.stream)

    @property
    def scale(self) -> float:
        """How many times longer the whole stream is than the sample."""
        return self.full_count / max(self.count, 1)

    @cached_property
    def low(self) -> int:
        """The smallest value of an integer stream (0 when empty)."""
        return int(self._numbers.min()) if self.count else 0

    @cached_property
    def high(self) -> int:
        """The largest value of an integer stream (0 when empty)."""
        return int(self._numbers.max()) if self.count else 0

    @property
    def span(self) -> int:
        return self.high - self.low

    @cached_property
    def occurrences(self) -> NDArray[np.int64]:
        """How often each distinct value occurs (order not defined)."""
        if isinstance(self.stream, Strings):
            return hashable(self.stream).value_counts().field("counts").to_numpy()
        bits = bits_of(np.ascontiguousarray(self.stream)).astype(np.uint64)
        low, high = (int(bits.min()), int(bits.max())) if self.count else (0, 0)
        if high - low <= _DENSE * self.count:
            counts = np.bincount((bits - np.uint64(low)).astype(np.intp))
        else:
            room = (2 * self.count).bit_length()
            keys, counts = np.zeros(1 << room, np.uint64), np.zeros(1 << room, np.int64)
            diversity.count_hashed(bits, 64 - room, keys, counts)
        return counts[counts > 0]

    @property
    def distinct(self) -> int:
        return len(self.occurrences)

    @cached_property
    def full_distinct(self) -> int:
        """Distinct values of the whole stream, estimated from those seen once and twice in the sample.

        Chao, "Nonparametric estimation of the number of classes in a population" (1984), bias-corrected. It errs on
        the side of many, which keeps nearly distinct streams out of dictionaries that would not pay.
        """
        if self.count == self.full_count:
            return self.distinct
        once, twice = (int(np.count_nonzero(self.occurrences == seen)) for seen in (1, 2))
        return min(self.full_count, self.distinct + once * (once - 1) // (2 * (twice + 1)))

    @property
    def entropy(self) -> float:
        """Order-0 entropy of the sample, bits per value."""
        return self._entropies[0]

    @cached_property
    def covered(self) -> float:
        """How much of the whole stream are values that the sample has: Good, "The population frequencies of species"
        (1953)."""
        whole = self.count in (0, self.full_count)
        return 1.0 if whole else 1 - np.count_nonzero(self.occurrences == 1) / (self.count + 1)

    @property
    def full_entropy(self) -> float:
        """Order-0 entropy of the whole stream, estimated from a sample that has not seen all of its values.

        Chao, Shen, "Nonparametric estimation of Shannon's index of diversity when there are unseen species in
        sample" (2003).
        """
        return self._entropies[self.count != self.full_count]

    @cached_property
    def _entropies(self) -> tuple[float, float]:
        return diversity.entropies(self.occurrences, self.count, self.covered)

    @cached_property
    def runs(self) -> int:
        """The number of maximal runs of one value."""
        if self.count == 0:
            return 0
        return 1 + int(np.count_nonzero(starts_new_run(self.stream)))

    @property
    def _numbers(self) -> np.ndarray:
        assert isinstance(self.stream, np.ndarray), "only integers have a range"
        return self.stream


def hashable(stream: Stream) -> pa.Array:
    """The stream as an Arrow array whose equality is equality of bits."""
    if isinstance(stream, Strings):
        buffers = [
            None,
            pa.py_buffer(np.ascontiguousarray(stream.offsets)),
            pa.py_buffer(np.ascontiguousarray(stream.data)),
        ]
        return pa.Array.from_buffers(pa.large_binary(), len(stream), buffers)
    return pa.array(bits_of(np.ascontiguousarray(stream)))


def starts_new_run(stream: Stream) -> NDArray[np.bool_]:
    """For values 1..n-1: whether each differs from the one before it."""
    if isinstance(stream, np.ndarray):
        bits = bits_of(stream)
        return bits[1:] != bits[:-1]
    array = hashable(stream)
    return pc.call_function("not_equal", [array[1:], array[:-1]]).to_numpy(zero_copy_only=False)
