"""What else a stream might have been: the best chain that begins otherwise, and what it takes without other columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mdlake.encodings.chain import Chain
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Stream
from mdlake.search.search import CLOSE, Effort, encode_so, outlook, shortest

_FEW = 3
"""So many of the other beginnings are looked at in depth, where the best is measured."""


@dataclass(frozen=True)
class RunnerUp:
    """The best chain that begins with another step than the chosen one; `estimated` by a sample: that step alone."""

    chain: str
    bytes: int
    estimated: bool


@dataclass(frozen=True, eq=False)
class Searched:
    """One stream of a column: what the search was asked, the chain that it chose, and all that it made in full.

    `columns`: which ones are known beside it, by position.
    """

    role: str
    stream: Stream
    effort: Effort
    known: Known | None
    columns: tuple[int, ...]
    path: tuple[Encoding, ...]
    chain: Chain
    tried: tuple[Chain, ...]

    def runner_up(self, names: Sequence[str], full: bool) -> RunnerUp | None:
        """None if the stream has no other chain.

        Args:
            names: of the table's columns.
            full: what was only estimated is made in full, and measured.
        """
        first = type(self.chain.step)
        made = [chain for chain in self.tried if type(chain.step) is not first]
        best = min(made, key=len, default=None)
        close = best and len(best) <= CLOSE * len(self.chain)
        few = _FEW if full else self.effort.keep - 1
        other = outlook(self.stream, self.effort, self.known, first, few) if full or not close else None
        if other and full:
            made += filter(None, [encode_so(other[1], self.stream, self.effort, self.known)])
            best = min(made, key=len, default=None)
        if best and (full or other is None or len(best) <= other[0]):
            return RunnerUp(best.told([names[column] for column in self.columns]), len(best), False)
        return RunnerUp(other[1].name, round(other[0]), True) if other else None

    def alone(self, full: bool) -> int | None:
        """What the stream takes where no other column is known, by a sample or in `full`; None if it needs none."""
        if not self.chain.needs:
            return None
        if full:
            return len(shortest(self.stream, self.effort, path=self.path))
        found = outlook(self.stream, self.effort, few=self.effort.keep - 1)
        return round(found[0]) if found else None
