"""Why a block is as it is: what each part of it takes, what the runner-up would have taken, what relations saved.

The parts can be had from a block's bytes alone. The rest a search tells that is watched: at little cost by its samples
or, as long as the search itself takes and longer, in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from mdlake.block import read_chains
from mdlake.encodings.chain import Chain
from mdlake.errors import CorruptError
from mdlake.search import RunnerUp, Searched
from mdlake.wire import Writer

FIGURES = (
    *("parents", "relation", "alone_bytes", "runner_up", "runner_up_bytes", "runner_up_estimated"),
    *("table_bytes", "exception_bytes"),
)
"""The columns of the statistics that say why a block is so."""


class Sort(Enum):
    """What bytes are spent on: what is said once, what mends a step that is not always right, all the rest."""

    TABLE = "table"
    EXCEPTIONS = "exceptions"
    REST = "rest"


@dataclass(frozen=True)
class Part:
    """One step of a chain and all under it. `told`: the step, with the columns that it needs; `needs`: these."""

    role: str
    told: str
    bytes: int
    sort: Sort
    needs: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()

    @property
    def own_bytes(self) -> int:
        """What the step itself takes: its configuration and, of the last in a chain, the data."""
        return self.bytes - sum(part.bytes for part in self.parts)

    def all(self) -> Iterator[Part]:
        """This part and all under it."""
        yield self
        for part in self.parts:
            yield from part.all()


@dataclass(frozen=True)
class Explanation:
    """A block of `bytes` bytes: a part for each of its streams, and what takes the bytes beyond these, the header.

    `runner_up`: the block's bytes if the stream that takes most of it began otherwise; `alone_bytes`: those if no other
    column were known, None where none is needed. `estimated`: whether those were told by samples.
    """

    bytes: int
    parts: tuple[Part, ...]
    runner_up: RunnerUp | None = None
    alone_bytes: int | None = None
    estimated: bool = False

    def spent(self, sort: Sort) -> int:
        """Bytes of all parts of a sort."""
        return sum(part.own_bytes for whole in self.parts for part in whole.all() if part.sort is sort)

    @property
    def header_bytes(self) -> int:
        return self.bytes - sum(part.bytes for part in self.parts)

    @property
    def saved_bytes(self) -> int | None:
        """What relations saved; below 0 if they did harm."""
        return None if self.alone_bytes is None else self.alone_bytes - self.bytes

    @property
    def parents(self) -> tuple[str, ...]:
        """The columns without which the block cannot be decoded."""
        return tuple(dict.fromkeys(name for whole in self.parts for part in whole.all() for name in part.needs))

    @property
    def relations(self) -> tuple[str, ...]:
        """The steps that need other columns."""
        return tuple(dict.fromkeys(part.told for whole in self.parts for part in whole.all() if part.needs))

    def figures(self) -> dict[str, Any]:
        """As the statistics have it."""
        relation = ", ".join(self.parents) or None, "; ".join(self.relations) or None, self.alone_bytes
        other = self.runner_up
        runner_up = (other.chain, other.bytes, other.estimated) if other else (None, None, None)
        spent = self.spent(Sort.TABLE), self.spent(Sort.EXCEPTIONS)
        return dict(zip(FIGURES, (*relation, *runner_up, *spent), strict=True))


class Watcher:
    """Gathers what the search tells of a column's streams, until the block is there and to be explained."""

    def __init__(self, names: Sequence[str], full: bool = False) -> None:
        """names: of the columns, by position. full: measure what was not tried, instead of estimating it."""
        self._names = names
        self._full = full
        self._seen: list[Searched] = []

    def __call__(self, searched: Searched) -> None:
        self._seen.append(searched)

    def explain(self, data: bytes) -> Explanation:
        """Why the block is so whose streams were seen since the last."""
        seen, self._seen = self._seen, []
        found = explain_block(data, self._names, [one.role for one in seen])
        heaviest = max(seen, key=lambda one: len(one.chain), default=None)
        runner_up = heaviest.runner_up(self._names, self._full) if heaviest else None
        if runner_up and heaviest:
            runner_up = replace(runner_up, bytes=len(data) - len(heaviest.chain) + runner_up.bytes)
        saved = [alone - len(one.chain) for one in seen if (alone := one.alone(self._full)) is not None]
        alone = len(data) - _size_of(read_chains(data)[0]) + sum(saved) if saved else None
        return replace(found, runner_up=runner_up, alone_bytes=alone, estimated=not self._full)


def explain_block(data: bytes | memoryview, names: Sequence[str], roles: Sequence[str]) -> Explanation:
    """What each part of a block takes.

    Args:
        names: of the columns, by position.
        roles: of the block's streams, in order.

    Raises:
        CorruptError, TruncatedError, UnsupportedVersionError: the bytes are no block of these columns.
    """
    parents, chains = read_chains(data)
    needed = max((place for chain, _ in chains for place in chain.needs), default=-1)
    if len(chains) != len(roles) or needed >= len(parents) or max(parents, default=-1) >= len(names):
        raise CorruptError(f"a block of {len(chains)} streams that needs {parents} is not of these columns")
    known = [names[parent] for parent in parents]
    parts = tuple(_part(role, chain, size, known, Sort.REST) for role, (chain, size) in zip(roles, chains, strict=True))
    return Explanation(len(data), parts)


def _part(role: str, chain: Chain, size: int, names: Sequence[str], sort: Sort) -> Part:
    """`sort`: of all that is under a table or under exceptions; else each child has its own."""
    step = chain.step
    children = []
    for place, child in enumerate(chain.children):
        own = Sort.TABLE if place == step.table else Sort.EXCEPTIONS if place in step.repairs else Sort.REST
        called = step.roles[min(place, len(step.roles) - 1)]
        children.append(_part(called, child, len(child), names, own if sort is Sort.REST else sort))
    return Part(role, step.told(names), size, sort, tuple(names[place] for place in step.needs), tuple(children))


def _size_of(parents: Sequence[int]) -> int:
    """Bytes that a header takes to name these."""
    writer = Writer()
    for parent in parents:
        writer.varint(parent)
    return writer.size
