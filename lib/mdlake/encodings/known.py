"""What is known beside a stream: for each of its values, the codes of other columns in the same row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.mixing import Context


@dataclass(frozen=True, eq=False)
class Known:
    """`codes`: uint32 [values, parents]. `contexts`: what an encoder may try with them; a decoder needs none."""

    codes: NDArray[np.uint32]
    contexts: tuple[Context, ...] = ()

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def parents(self) -> int:
        return self.codes.shape[1]

    def beside(self, count: int) -> Known | None:
        """For a child of this stream with `count` values: the same if it has as many, the last if it has one less
        (differences), nothing if its values are no longer those of the rows."""
        if count == len(self):
            return self
        return Known(self.codes[1:], self.contexts) if count == len(self) - 1 else None

    def rows(self, chosen: NDArray[np.bool_]) -> Known:
        """Of some values only, such as those that are not null."""
        return self if bool(chosen.all()) else Known(self.codes[chosen], self.contexts)

    def stretches(self, starts: Sequence[int], length: int) -> Known:
        """Of a sample."""
        return Known(np.concatenate([self.codes[start : start + length] for start in starts]), self.contexts)
