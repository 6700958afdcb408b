"""Sharing of values as a stage: training that sees it, then a codebook for each layer, its entries trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

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

    That is for the layer with the most weights left. One with a share s of as many has s^-`more` times the entries: a
    bit for each of few weights costs little, and layers near the outputs are small and need them. 0: the same for all.
    `aware`: the training in which a weight may still change its value; after it only the values are trained.
    """

    use: ClassVar[str] = "codebook"
    entries: int = 8
    more: float = 0.5
    aware: TrainingOptions | None = None
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        if not 1 <= self.entries <= _MOST:
            raise InvalidArgumentError(f"a codebook has from 1 to {_MOST} entries, not {self.entries}")
        if not 0 <= self.more <= 1:
            raise InvalidArgumentError(f"more is from 0 to 1, not {self.more}")

    def run(self, making: Making, data: Data) -> None:
        layers = _layers(making.module)
        seen = TrainedCentroids(making.module, self._books(making, data, layers))
        making.tune(data, self.training, seen)
        for name, book in seen.finish().items():
            making.schemes[name] = Codebook.of(book.indices, book.centroids)

    def _books(self, making: Making, data: Data, layers: list[dict[str, torch.Tensor]]) -> dict[str, Book]:
        entries = self._entries(layers)
        if self.aware:
            groups = [(list(layer), count) for layer, count in zip(layers, entries, strict=True)]
            sharing = SharingAware(making.module, groups)
            hold = partial(HardMasks(making.masks).after_step, making.module)
            making.tune(data, self.aware, sharing, after_step=hold)
            return sharing.codebooks()
        books: dict[str, Book] = {}
        for layer, count in zip(layers, entries, strict=True):
            books |= shared_codebook(layer, count)
        return books

    def _entries(self, layers: list[dict[str, torch.Tensor]]) -> list[int]:
        """For each layer."""
        left = [max(1, sum(int(torch.count_nonzero(tensor)) for tensor in layer.values())) for layer in layers]
        return [min(_MOST, round(self.entries * (max(left) / count) ** self.more)) for count in left]

    def __str__(self) -> str:
        return f"{self.use} {self.entries}"


def _layers(network: nn.Module) -> list[dict[str, torch.Tensor]]:
    """The parameters of each module together."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, parameter in network.named_parameters():
        found.setdefault(name.rpartition(".")[0], {})[name] = parameter.detach()
    return list(found.values())
