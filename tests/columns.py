"""Columns that are known beside a stream, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mdlake.encodings.known import Hints, Known
from mdlake.streams import Strings


@dataclass(frozen=True, eq=False)
class Beside:
    """A column with these codes (uint32), or these numbers (int64)."""

    codes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint32))
    numbers: np.ndarray | None = None
    strings: Strings | None = None

    def __len__(self) -> int:
        return len(self.codes)


def known_numbers(*columns: np.ndarray) -> Known:
    return Known(tuple(Beside(numbers=column) for column in columns), len(columns[0]))


def known_codes(codes: np.ndarray) -> Known:
    """codes: uint32 [n, columns]; each is a context."""
    columns = tuple(Beside(np.ascontiguousarray(column)) for column in codes.T)
    return Known(columns, len(codes), hints=Hints(tuple(((2 + j, 0),) for j in range(len(columns)))))
