"""Units -> batches: shuffled and shared among workers for training, in order for measuring and scoring.

Every worker draws its own share of the units in an order that the seed and the epoch fix, mixes rows within
a buffer, and cuts batches of one size. A share that runs out starts over, so that all workers take the same
number of steps, which data-parallel training needs. At most one row group and the buffer are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from mdlake.errors import InvalidArgumentError
from mdlake.models.features import FeatureSpec
from mdlake.models.shards import Shards, Unit
from mdlake.models.tasks import BinaryTask

SCORE = "logit"  # the column of teacher outputs
_UNITS_PER_WORKER = 8


@dataclass(frozen=True)
class Share:
    """Which worker this is (`rank`) of how many (`world`)."""

    rank: int = 0
    world: int = 1


@dataclass(frozen=True)
class Batch:
    """What a network takes (`inputs`), the labels and, if the teacher's were asked for, its logits."""

    inputs: tuple[torch.Tensor, ...]
    labels: torch.Tensor
    scores: torch.Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        return Batch(
            tuple(tensor.to(device, non_blocking=True) for tensor in self.inputs),
            self.labels.to(device, non_blocking=True),
            None if self.scores is None else self.scores.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class Source:
    """Where rows come from and what is made of them. `scores` are the files with the teacher's logits."""

    shards: Shards
    features: FeatureSpec
    task: BinaryTask
    scores: Shards | None = None

    @property
    def columns(self) -> list[str]:
        return [*dict.fromkeys([*self.features.columns, self.task.column])]

    def arrays(self, unit: Unit) -> list[np.ndarray]:
        """The unit's labelled rows: numbers, categories, labels and, where there are any, scores."""
        table = self.shards.read(unit, self.columns)
        labels, labelled = self.task.labels(table)
        columns = [labels, *([_scores(self.scores, unit)] if self.scores else [])]
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
        yield _batch([column[:size] for column in left])
        left = [column[size:] for column in left]


def ordered_batches(source: Source, share: Share | None = None) -> Iterator[Batch]:
    """Every labelled row of this worker's units once, in file order, a unit at a time."""
    share = share or Share()
    for unit in source.shards.units(share.world)[share.rank :: share.world]:
        arrays = source.arrays(unit)
        if len(arrays[0]):
            yield _batch(arrays)


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


def _batch(arrays: list[np.ndarray]) -> Batch:
    numbers, categories, labels, *scores = (torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)
    return Batch((numbers, categories), labels, scores[0] if scores else None)


def _scores(shards: Shards, unit: Unit) -> np.ndarray:
    values = shards.read(unit, [SCORE])[SCORE].combine_chunks()
    return values.to_numpy(zero_copy_only=False).astype(np.float32)
