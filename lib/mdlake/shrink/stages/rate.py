"""Rate-distortion rounding as a stage, without any training: how much loss a bit may cost is searched."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batch
from mdlake.models.schemes import Linear
from mdlake.models.training import TrainingOptions
from mdlake.shrink.outputs import output_curvature
from mdlake.shrink.quantize.price import search_price
from mdlake.shrink.quantize.rate_distortion import RateOptions, quantize_by_rate
from mdlake.shrink.stages.making import Data, Making

_BATCH = 1024
_COARSENESSES = (2.8, 5.6, 8.0)


@dataclass(frozen=True)
class RoundByRate:
    """Levels for all Linear and Conv2d layers by `quantize.rate_distortion`, their biases as integers of 8 bits.

    `price`: the loss that a bit may cost. 0: searched, the fewest bits with the score at the floor or above; then
    `coarseness` is searched too, if it is 0. `rows` of the train split are what errors are measured on.
    """

    use: ClassVar[str] = "rate"
    price: float = 0.0
    coarseness: float = 0.0
    rows: int = 8192
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        if self.price < 0 or self.coarseness < 0 or self.rows < 1:
            raise InvalidArgumentError("price and coarseness are 0 or more, rows are 1 or more")

    def run(self, making: Making, data: Data) -> None:
        rows = data.sample(-(-self.rows // _BATCH), self.training.seed, min(_BATCH, self.rows))
        curvature = output_curvature(making.module, rows, data.train.task.loss, seed=self.training.seed)
        network, found = self._rounded(making.module, rows, curvature, data)
        restored = {name: scheme.restore() for name, scheme in found.items()}
        network.load_state_dict({**network.state_dict(), **restored})
        making.model = replace(making.model, module=network)
        making.schemes |= found

    def __str__(self) -> str:
        return f"{self.use} {self.price:.4g}" if self.price else self.use

    def _rounded(
        self, module: nn.Module, rows: list[Batch], curvature: dict[str, torch.Tensor], data: Data
    ) -> tuple[nn.Module, dict[str, Linear]]:
        tried = (self.coarseness,) if self.coarseness else _COARSENESSES
        if self.price:
            network = copy.deepcopy(module)
            return network, quantize_by_rate(network, rows, curvature, RateOptions(self.price, tried[0]))
        found = search_price(module, rows, curvature, data.measure, data.floor, tried)
        if found is None:
            raise InvalidArgumentError(
                f"no price of a bit keeps a score of {data.floor:.4f}: raise max_drop, or give more rows",
                stage=self.use,
            )
        return found.network, found.schemes
