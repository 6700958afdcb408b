"""Sharing of values as a stage: training that sees it, then a codebook for each layer, its entries trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.schemes import Codebook
from mdlake.models.training import TrainingOptions
from mdlake.shrink.prune.schedule import HardMasks
from mdlake.shrink.quantize.codebook import Codebook as Book
from mdlake.shrink.quantize.codebook import TrainedCentroids, shared_codebook
from mdlake.shrink.quantize.sharing import SharingAware
from mdlake.shrink.stages.making import Data, Making

_MOST = 127


@dataclass(frozen=True)
class ShareValues:
    """All weights of a layer, its bias with them, take one of `entries` values; zero is one more.

    `aware`: the training in which a weight may still change its value; after it only the values are trained.
    """

    use: ClassVar[str] = "codebook"
    entries: int = 8
    aware: TrainingOptions | None = None
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        if not 1 <= self.entries <= _MOST:
            raise InvalidArgumentError(f"a codebook has from 1 to {_MOST} entries, not {self.entries}")

    def run(self, making: Making, data: Data) -> None:
        layers = _layers(making.module)
        seen = TrainedCentroids(making.module, self._books(making, data, layers))
        making.tune(data, self.training, seen)
        for name, book in seen.finish().items():
            making.schemes[name] = Codebook(book.indices.astype(np.int8), book.centroids.astype(np.float32))

    def _books(self, making: Making, data: Data, layers: list[dict[str, torch.Tensor]]) -> dict[str, Book]:
        if self.aware:
            sharing = SharingAware(making.module, [list(layer) for layer in layers], self.entries)
            hold = partial(HardMasks(making.masks).after_step, making.module)
            making.tune(data, self.aware, sharing, after_step=hold)
            return sharing.codebooks()
        books: dict[str, Book] = {}
        for layer in layers:
            books |= shared_codebook(layer, self.entries)
        return books

    def __str__(self) -> str:
        return f"{self.use} {self.entries}"


def _layers(network: nn.Module) -> list[dict[str, torch.Tensor]]:
    """The parameters of each module together."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, parameter in network.named_parameters():
        found.setdefault(name.rpartition(".")[0], {})[name] = parameter.detach()
    return list(found.values())
