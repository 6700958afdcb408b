"""Sharing of values as a stage: a codebook for each layer, its entries trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch

from mdlake.errors import InvalidArgumentError
from mdlake.models.schemes import Codebook
from mdlake.models.training import TrainingOptions
from mdlake.shrink.quantize.codebook import TrainedCentroids, shared_codebook
from mdlake.shrink.stages.making import Data, Making

_MOST = 127


@dataclass(frozen=True)
class ShareValues:
    """All weights of a layer, its bias with them, take one of `entries` values; zero is one more."""

    use: ClassVar[str] = "codebook"
    entries: int = 8
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        if not 1 <= self.entries <= _MOST:
            raise InvalidArgumentError(f"a codebook has from 1 to {_MOST} entries, not {self.entries}")

    def run(self, making: Making, data: Data) -> None:
        books = {}
        for group in _layers(dict(making.module.named_parameters())):
            books |= shared_codebook(group, self.entries)
        seen = TrainedCentroids(making.module, books)
        making.tune(data, self.training, seen)
        for name, book in seen.finish().items():
            making.schemes[name] = Codebook(book.indices.astype(np.int8), book.centroids.astype(np.float32))

    def __str__(self) -> str:
        return f"{self.use} {self.entries}"


def _layers(parameters: dict[str, torch.nn.Parameter]) -> list[dict[str, torch.Tensor]]:
    """The parameters of each module together."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, parameter in parameters.items():
        found.setdefault(name.rpartition(".")[0], {})[name] = parameter.detach()
    return list(found.values())
