"""A chain: an encoding and the chains of its children; how it is written, read and undone.

Written in pre-order: the number of the encoding, its fields, its children. Shapes are not written: they follow from the
shape of the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from mdlake.encodings import ENCODINGS
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Shape, Stream, Writer
from mdlake.errors import CorruptError, UnsupportedVersionError
from mdlake.wire import Reader

MAX_DEPTH = 16
_SHOWN = 4


@dataclass(frozen=True)
class Chain:
    """One stream, encoded."""

    step: Encoding
    children: tuple[Chain, ...] = ()

    def write(self, writer: Writer) -> None:
        writer.byte(self.step.id)
        self.step.write(writer)
        for child in self.children:
            child.write(writer)

    @property
    def needs(self) -> frozenset[int]:
        """The parents that some step of it needs."""
        return frozenset(self.step.needs).union(*(child.needs for child in self.children))

    def __len__(self) -> int:
        """The bytes it takes when written."""
        writer = Writer()
        self.write(writer)
        return writer.size

    @property
    def heaviest(self) -> Encoding:
        """The last step of the part that takes most bytes."""
        return max(self.children, key=len).heaviest if self.children else self.step

    def decode(self, shape: Shape, known: Known | None = None, out: np.ndarray | None = None) -> Stream:
        """The stream back. The shape is the one given to `read`; `known` what was known when it was encoded.

        `out`: an array of that shape to be filled, of numbers only.
        """
        children = tuple(
            child.decode(inner, known.beside(inner.count) if known else None)
            for child, inner in zip(self.children, self.step.children(shape), strict=True)
        )
        if out is None:
            return self.step.decode(children, shape, known)
        self.step.fill(out, children, shape, known)
        return out

    def __str__(self) -> str:
        return self._written(str)

    def told(self, names: Sequence[str]) -> str:
        """With the names of the columns beside it."""
        return self._written(lambda step: step.told(names))

    def _written(self, told: Callable[[Encoding], str]) -> str:
        names = [(name, len(list(same))) for name, same in groupby(child._written(told) for child in self.children)]
        if len(names) > _SHOWN:  # the parts of a partition
            counted = Counter(name for name, times in names for _ in range(times))
            names = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
        inner = ", ".join(name if times == 1 else f"{times} x {name}" for name, times in names)
        return f"{told(self.step)}({inner})" if inner else told(self.step)


@dataclass
class Budget:
    """How many bytes decoding may still allocate."""

    limit: int
    left: int

    @classmethod
    def of(cls, limit: int) -> Budget:
        return cls(limit, limit)

    def take(self, size: int) -> None:
        """Sets `size` bytes aside, before anything is allocated.

        Raises:
            CorruptError: the bytes ask for more than the limit.
        """
        self.left -= size
        if self.left < 0:
            raise CorruptError(
                f"decoding needs more than the {self.limit:,} bytes allowed; the sizes are damaged, or raise max_bytes"
            )


def read_chain(reader: Reader, shape: Shape, budget: Budget, depth: int = 0) -> Chain:
    """Reads the chain of a stream of this shape. Nothing is decoded yet; all that decoding will allocate is counted.

    Raises:
        CorruptError, TruncatedError: the bytes are damaged.
        UnsupportedVersionError: an encoding that this release does not know.
    """
    if depth > MAX_DEPTH:
        raise CorruptError(f"a chain is deeper than {MAX_DEPTH} encodings")
    budget.take(shape.memory)
    number = reader.byte()
    if number not in ENCODINGS:
        raise UnsupportedVersionError(f"encoding number {number} is unknown; a newer mdlake may read it")
    step = ENCODINGS[number].read(reader, shape)
    children = tuple(read_chain(reader, inner, budget, depth + 1) for inner in step.children(shape))
    return Chain(step, children)
