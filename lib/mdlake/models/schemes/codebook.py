"""Levels that name values of a book."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from mdlake.errors import CorruptError
from mdlake.models.schemes.protocol import Shape


@dataclass(frozen=True, eq=False)
class Codebook:
    """Levels that name values of a book. Han, Mao and Dally (2016), section 3.

    Level 0 is 0; 1, 2, ... are the entries from 0 upwards, -1, -2, ... those below 0 downwards: a level has sign and
    rank of its value, which is what coding it profits from. `of` makes levels from places in a book.
    """

    name: ClassVar[str] = "codebook"
    has_levels: ClassVar[bool] = True
    row: ClassVar[int] = 0
    levels: np.ndarray  # int8, of the tensor's shape
    book: np.ndarray  # float32 [entries], ascending, each a value that float16 has; up to 127

    @classmethod
    def of(cls, places: np.ndarray, book: np.ndarray) -> Codebook:
        """Where `places` is 0, 0; where it is i, entry i - 1 of `book`, float16 in any order."""
        order = np.argsort(book, kind="stable")
        ranks = np.empty(len(book) + 1, np.int64)
        ranks[0] = 0
        ranks[order + 1] = _signed(np.arange(len(book)), int((book < 0).sum()))
        return cls(ranks[places].astype(np.int8), book[order].astype(np.float32))

    @property
    def about(self) -> dict[str, Any]:
        return {"book": [float(str(np.float16(value))) for value in self.book]}

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return {}

    @classmethod
    def roles(cls, about: Mapping[str, Any], shape: Shape) -> dict[str, tuple[np.dtype, int]]:
        return {}

    @classmethod
    def read(cls, about: Mapping[str, Any], shape: Shape, arrays: Mapping[str, np.ndarray]) -> Codebook:
        book, levels = np.array(about["book"], np.float16).astype(np.float32), arrays["levels"]
        if book.ndim != 1 or (np.diff(book) < 0).any() or np.isnan(book).any():
            raise CorruptError("a book is a list of numbers, ascending")
        below, lowest, highest = int((book < 0).sum()), levels.min(initial=0), levels.max(initial=0)
        if lowest < -below or highest > len(book) - below:
            raise CorruptError(
                f"levels from {lowest} to {highest}, but a book of {below} entries below 0 of {len(book)}"
            )
        return cls(levels, book)

    def restore(self) -> torch.Tensor:
        below = int((self.book < 0).sum())
        values = np.concatenate([self.book[:below], np.zeros(1, np.float32), self.book[below:]])
        return torch.from_numpy(values[self.levels.astype(np.int64) + below])


def _signed(places: np.ndarray, below: int) -> np.ndarray:
    """Places in an ascending book, of which `below` entries are below 0, as levels."""
    return np.where(places < below, places - below, places - below + 1)
