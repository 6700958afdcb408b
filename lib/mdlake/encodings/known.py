"""What is known beside a stream: for each of its values, those of other columns in the same row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.mixing import Context
from mdlake.compositions import Composition
from mdlake.errors import CorruptError
from mdlake.expressions import Expression
from mdlake.kernels import composing
from mdlake.streams import Strings

Codes = NDArray[np.uint32]
Numbers = NDArray[np.int64]


class Parent(Protocol):
    """A column that has been decoded: a code and a number or a string for each of its rows, made when asked for."""

    def __len__(self) -> int: ...

    @property
    def codes(self) -> Codes: ...

    @property
    def numbers(self) -> Numbers | None: ...

    @property
    def strings(self) -> Strings | None: ...


@dataclass(frozen=True)
class Hints:
    """What an encoder may try with columns known beside, each named by its place among them; a decoder needs none.

    `remains`: what share of the values each of the contexts leaves to say, where that is known of more than a sample.
    """

    contexts: tuple[Context, ...] = ()
    formulas: tuple[tuple[str, Expression], ...] = ()
    lookups: tuple[tuple[int, ...], ...] = ()
    remains: tuple[float, ...] = ()
    compositions: tuple[Composition, ...] = ()


NO_HINTS = Hints()


@dataclass(frozen=True, eq=False)
class Known:
    """`rows`: which of the parents' rows the stream's values are of, in order; None for all."""

    parents: tuple[Parent, ...]
    count: int
    rows: NDArray[np.intp] | None = None
    hints: Hints = NO_HINTS

    @cached_property
    def codes(self) -> Codes:
        """uint32 [values, parents]."""
        columns = [self.codes_of(parent) for parent in range(len(self.parents))]
        return np.ascontiguousarray(np.stack(columns, axis=1)) if columns else np.zeros((self.count, 0), np.uint32)

    def codes_of(self, parent: int) -> Codes:
        """uint32 [values]."""
        return self._chosen(self.parents[parent].codes)

    def numbers(self, parent: int) -> Numbers | None:
        """int64 [values], or None where this parent is no column of numbers."""
        if parent >= len(self.parents) or (found := self.parents[parent].numbers) is None:
            return None
        return self._chosen(found)

    def strings(self, parent: int) -> Strings | None:
        """A string for each value, or None where this parent is no column of strings."""
        if parent not in self._strings:
            found = self.parents[parent].strings if parent < len(self.parents) else None
            self._strings[parent] = found if found is None or self.rows is None else taken(found, self.rows)
        return self._strings[parent]

    @cached_property
    def _strings(self) -> dict[int, Strings | None]:
        return {}

    def where(self, valid: NDArray[np.bool_]) -> Known:
        """Of some values only, such as those that are not null."""
        return self if bool(valid.all()) else self._of(np.flatnonzero(valid))

    def beside(self, count: int) -> Known | None:
        """For a child of this stream with `count` values: the same if it has as many, the last if it has one less
        (differences), nothing if its values are no longer those of the rows. What was not looked up at once is not
        tried again."""
        if count == self.count:
            return replace(self, hints=replace(self.hints, lookups=(), compositions=()))
        return self._of(np.arange(1, self.count)) if count == self.count - 1 else None

    def stretches(self, starts: Sequence[int], length: int) -> Known:
        """Of a sample."""
        return self._of(np.concatenate([np.arange(start, start + length) for start in starts]))

    def _of(self, chosen: NDArray[np.intp]) -> Known:
        return replace(self, count=len(chosen), rows=chosen if self.rows is None else self.rows[chosen])

    def _chosen(self, values: np.ndarray) -> np.ndarray:
        return values if self.rows is None else values[self.rows]


def taken(strings: Strings, rows: NDArray[np.intp]) -> Strings:
    """The strings of these rows."""
    lengths = strings.lengths[rows]
    found = Strings.of(lengths, np.empty(int(lengths.sum()), np.uint8))
    composing.cut(strings.offsets, strings.data, rows, np.zeros(len(rows), np.int64), lengths, found.data)
    return found


def codes_beside(known: Known | None, count: int, needs: Sequence[int] = ()) -> Codes:
    """uint32 [count, parents]: what is known beside `count` values.

    Raises:
        CorruptError: that is not as many values, or not all parents that are needed.
    """
    codes = known.codes if known else np.zeros((count, 0), np.uint32)
    most = max(needs, default=-1)
    if len(codes) != count or most >= codes.shape[1]:
        raise CorruptError(f"a context asks for parent {most} of {codes.shape[1]}, {len(codes)} values of it")
    return codes
