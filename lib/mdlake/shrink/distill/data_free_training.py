"""Data-free distillation as a training with epochs: measured on a validation split, with checkpoints as any other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Share, Source, first_rows, ordered_batches
from mdlake.models.images import ImageSpec
from mdlake.models.training import Progress, predict, seed_of
from mdlake.shrink.distill.data_free import Adversaries, DataFreeOptions


@dataclass
class DataFreeTraining:
    """A student and its teacher; an epoch is `options.every` rounds. One worker does it: there are no rows to share.

    Raises:
        InvalidArgumentError: the networks do not see images.
    """

    network: nn.Module
    teacher: nn.Module
    validation: Source
    options: DataFreeOptions
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    progress: Progress = field(default_factory=Progress)
    share: Share = field(default_factory=Share)
    sharded: bool = False

    def __post_init__(self) -> None:
        spec = self.validation.features
        if not isinstance(spec, ImageSpec):
            raise InvalidArgumentError("without data only images can be made up: leave data_free out")
        if first_rows(self.validation, 1) is None:
            raise InvalidArgumentError(
                "the validation split has no row with a label", url=self.validation.shards.store.url
            )
        self.network.to(self.device)
        torch.manual_seed(self.options.seed)
        self._pair = Adversaries(self.network, self.teacher, spec.shape, self.options)
        self.optimizer: torch.optim.Optimizer = self._pair.optimizer

    def run(self) -> Iterator[Progress]:
        """Does the rounds that are left; yields after each epoch, for the caller to keep a checkpoint."""
        begun, options = time.monotonic(), self.options
        while self.progress.epoch < options.epochs:
            torch.manual_seed(seed_of(options.seed, self.progress.epoch))
            first = self.progress.epoch * options.every
            stop = min(first + options.every, options.rounds)
            distance = torch.stack([self._pair.round(number) for number in range(first, stop)]).mean()
            measured = self.validation.task.measure(
                *predict(self.network, ordered_batches(self.validation), self.device)
            )
            rate, seconds = self.optimizer.param_groups[0]["lr"], time.monotonic() - begun
            self.progress.add(stop * options.student_steps, float(distance), measured, rate, seconds)
            yield self.progress
        self._pair.end()
