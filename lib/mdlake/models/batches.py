"""Units -> batches: shuffled and shared among workers for training, in order for measuring and scoring.

Every worker draws its own share of the units in an order that the seed and the epoch fix, mixes rows within
a buffer, and cuts batches of one size. A share that runs out starts over, so that all workers take the same
number of steps, which data-parallel training needs. At most one row group, the buffer and the units that are
held, so that they need not be decoded in each epoch, are in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from mdlake.errors import InvalidArgumentError
from mdlake.models.inputs import Inputs
from mdlake.models.scores import read_scores
from mdlake.models.shards import Shards, Unit
from mdlake.models.tasks import Task

_UNITS_PER_WORKER = 8


@dataclass(frozen=True)
class Share:
    """Which worker this is (`rank`) of how many (`world`)."""

    rank: int = 0
    world: int = 1


@dataclass(frozen=True)
class Batch:
    """What a network takes (`inputs`), the labels and, if asked for, the teacher's scores (`scores.whole_scores`)."""

    inputs: tuple[torch.Tensor, ...]
    labels: torch.Tensor
    scores: torch.Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        return Batch(
            tuple(tensor.to(device, non_blocking=True) for tensor in self.inputs),
            self.labels.to(device, non_blocking=True),
            None if self.scores is None else self.scores.to(device, non_blocking=True),
        )

    def parts(self, count: int) -> list[Batch]:
        """The rows in order in `count` batches as equal as can be; fewer if there are not as many rows."""
        size = -(-len(self.labels) // count)
        inputs = zip(*(tensor.split(size) for tensor in self.inputs), strict=True)
        labels = self.labels.split(size)
        scores = [None] * len(labels) if self.scores is None else self.scores.split(size)
        return [Batch(*part) for part in zip(inputs, labels, scores, strict=True)]


Batches = Iterable[Batch | Sequence[Any]]
"""Also as a torch DataLoader gives them: inputs, which are a tensor or several, and labels."""


def batches_of(given: Batches) -> Iterator[Batch]:
    """Raises `InvalidArgumentError` for anything else."""
    for batch in given:
        yield batch if isinstance(batch, Batch) else _batch_of(batch)


def _batch_of(given: Any) -> Batch:
    inputs, labels = given if isinstance(given, tuple | list) and len(given) == 2 else (None, None)
    several = [*inputs, labels] if isinstance(inputs, tuple | list) else [inputs, labels]
    tensors = [tensor for tensor in several if isinstance(tensor, torch.Tensor)]
    if len(tensors) < len(several):
        told = "a pair of inputs (a tensor, or several) and labels, as a DataLoader gives"
        raise InvalidArgumentError(f"a batch is {told}; it is not {type(given).__name__} {str(given)[:40]}")
    return Batch(tuple(tensors[:-1]), tensors[-1])


@dataclass
class Held:
    """Arrays of units that were read before, up to `limit` bytes of them. Stays where it is: sent, it is empty."""

    limit: int = 256 << 20
    size: int = 0
    arrays: dict[Unit, list[np.ndarray]] = field(default_factory=dict)

    def keep(self, unit: Unit, arrays: list[np.ndarray]) -> None:
        size = sum(array.nbytes for array in arrays)
        if self.size + size <= self.limit:
            self.arrays[unit] = arrays
            self.size += size

    def __reduce__(self) -> tuple[object, ...]:
        return (Held, (self.limit,))


@dataclass(frozen=True)
class Source:
    """Where rows come from and what is made of them. `scores` are the files with the teacher's logits.

    What it holds is its own: another source that `dataclasses.replace` makes of it begins with nothing.
    """

    shards: Shards
    features: Inputs
    task: Task
    scores: Shards | None = None
    held: Held = field(default_factory=Held, init=False, compare=False, repr=False)

    @property
    def columns(self) -> list[str]:
        return [*dict.fromkeys([*self.features.columns, self.task.column])]

    def arrays(self, unit: Unit) -> list[np.ndarray]:
        """The unit's labelled rows: what the inputs make of them, labels and, where there are any, scores."""
        if unit not in self.held.arrays:
            arrays = self._read(unit)
            self.held.keep(unit, arrays)
            return arrays
        return self.held.arrays[unit]

    def batch(self, arrays: Sequence[np.ndarray]) -> Batch:
        """Rows of such arrays for a network."""
        count = len(arrays) - 1 - (self.scores is not None)
        labels, *scores = (torch.from_numpy(np.ascontiguousarray(array)) for array in arrays[count:])
        return Batch(self.features.tensors(arrays[:count]), labels, scores[0] if scores else None)

    def _read(self, unit: Unit) -> list[np.ndarray]:
        table = self.shards.read(unit, self.columns)
        labels, labelled = self.task.labels(table)
        columns = [labels, *([read_scores(self.scores, unit)] if self.scores else [])]
        if not labelled.all():
            table = table.filter(pa.array(labelled))
            columns = [column[labelled] for column in columns]
        return [*self.features.transform(table), *columns]


def steps_per_epoch(shards: Shards, batch_size: int, world: int) -> int:
    """Steps after which about every row was seen once; a batch is shared by all workers."""
    return max(1, round(shards.rows / (max(1, batch_size // world) * world)))


def training_batches(
    source: Source, share: Share, *, batch_size: int, steps: int, seed: int, epoch: int, buffer_rows: int
) -> Iterator[Batch]:
    """`steps` batches of `batch_size // world` labelled rows each, this worker's share of the epoch."""
    size = max(1, batch_size // share.world)
    rows = _shuffled(source, share, max(buffer_rows, size), (seed, epoch))
    left: list[np.ndarray] = []
    for _ in range(steps):
        while not left or len(left[0]) < size:
            left = _joined(left, next(rows))
        yield source.batch([column[:size] for column in left])
        left = [column[size:] for column in left]


def first_rows(source: Source, count: int) -> Batch | None:
    """At most so many of the first labelled rows of the split; None if it has none."""
    for unit in source.shards.units():
        arrays = source.arrays(unit)
        if len(arrays[0]):
            return source.batch([array[:count] for array in arrays])
    return None


def sample(source: Source, batches: int, seed: int, size: int = 1024) -> list[Batch]:
    """So many batches of the split, chosen by the seed, without scores."""
    rows, source = size * batches, replace(source, scores=None)
    return list(training_batches(source, Share(), batch_size=size, steps=batches, seed=seed, epoch=0, buffer_rows=rows))


def ordered_batches(source: Source, share: Share | None = None) -> Iterator[Batch]:
    """Every labelled row of this worker's units once, in file order, a unit at a time."""
    share = share or Share()
    for unit in source.shards.units(share.world)[share.rank :: share.world]:
        arrays = source.arrays(unit)
        if len(arrays[0]):
            yield source.batch(arrays)


def _shuffled(source: Source, share: Share, buffer_rows: int, seed: tuple[int, ...]) -> Iterator[list[np.ndarray]]:
    """Buffers of shuffled rows without end."""
    units = source.shards.units(_UNITS_PER_WORKER * share.world)
    for lap in range(1 << 30):
        order = np.random.default_rng((*seed, lap)).permutation(len(units))
        mine = _share_of([units[i] for i in order], source.shards, share)
        random = np.random.default_rng((*seed, lap, share.rank))
        seen = 0
        for buffer in _buffers(source, mine, buffer_rows):
            seen += len(buffer[0])
            mixed = random.permutation(len(buffer[0]))
            yield [column[mixed] for column in buffer]
        if not seen:
            raise InvalidArgumentError(
                f"no row has a label: {source.task.column!r} is null in every row of this share",
                url=source.shards.store.url,
            )


def _share_of(units: Sequence[Unit], shards: Shards, share: Share) -> list[Unit]:
    """This worker's units: each goes to the worker with the fewest rows so far."""
    loads = [0] * share.world
    mine = []
    for unit in units:
        rank = loads.index(min(loads))
        loads[rank] += shards.rows_of(unit)
        if rank == share.rank:
            mine.append(unit)
    return mine


def _buffers(source: Source, units: Sequence[Unit], buffer_rows: int) -> Iterator[list[np.ndarray]]:
    held: list[np.ndarray] = []
    for unit in units:
        held = _joined(held, source.arrays(unit))
        if len(held[0]) >= buffer_rows:
            yield held
            held = []
    if held and len(held[0]):
        yield held


def _joined(first: list[np.ndarray], second: list[np.ndarray]) -> list[np.ndarray]:
    if not first or not len(first[0]):
        return second
    return [np.concatenate(pair) for pair in zip(first, second, strict=True)]
