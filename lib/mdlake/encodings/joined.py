"""Numbers side by side as one column, where that is shorter: the digits of one number in mixed radix."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.logarithm import entropy, log2
from mdlake.encodings.protocol import Stream
from mdlake.encodings.templates import Part, Role
from mdlake.streams import smallest_unsigned

Piece = tuple[Part, Stream | None]
"""A part and the column that it begins, if it does."""
_BETWEEN = 12
_JUDGED = 4096
_GAIN = 0.95


def together(pieces: list[Piece]) -> list[Piece]:
    """The same pieces, some numbers joined to those before them, every column in its narrowest kind. From the last to
    the first: seconds that seem random become a time that rises once they have their minutes."""
    pieces = list(pieces)
    later: _Joined | None = None
    for place in reversed(range(len(pieces))):
        part, column = pieces[place]
        if part.role is Role.LITERAL:
            later = later if len(part.text) <= _BETWEEN else None
        elif not isinstance(column, np.ndarray):
            later = None
        else:
            joined = _Joined(place, column, 1)
            if later is not None and (longer := _longer(column, later, place)) is not None:
                radix = int(later.column.max()) // later.below + 1
                pieces[later.place] = replace(pieces[later.place][0], radix=radix), None
                joined = longer
            pieces[place] = part, joined.column
            later = joined
    return [_narrow(*piece) for piece in pieces]


@dataclass(frozen=True, eq=False)
class _Joined:
    """A column whose first digit is the piece at `place`; the others of it make numbers less than `below`."""

    place: int
    column: NDArray[np.uint64]
    below: int


def _longer(high: NDArray[np.uint64], low: _Joined, place: int) -> _Joined | None:
    """The two as one; None if that exceeds 63 bits or is not shorter."""
    below = (int(low.column.max()) // low.below + 1) * low.below
    if (int(high.max()) + 1) * below >= 1 << 63:
        return None
    both = high * np.uint64(below) + low.column
    return _Joined(place, both, below) if _bits(both) < _GAIN * (_bits(high) + _bits(low.column)) else None


def _bits(values: NDArray[np.uint64]) -> float:
    """About how many bits each of the first values takes: by its differences, or by a table of those that occur."""
    judged = values[:_JUDGED].astype(np.float64)
    differences = float(log2(1 + 2.0 * np.abs(np.diff(judged))).mean()) if len(judged) > 1 else 0.0
    share = np.unique(judged, return_counts=True)[1] / len(judged)
    table = log2(1 + np.ptp(judged)) * len(share) / len(judged)
    return min(differences, entropy(share) + float(table))


def _narrow(part: Part, column: Stream | None) -> Piece:
    if not isinstance(column, np.ndarray):
        return part, column
    kind = smallest_unsigned(int(column.max()))
    return replace(part, kind=kind), column.astype(kind.dtype)
