"""Rate-distortion rounding as a stage, without any training: how much loss a bit may cost is searched."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.schemes import Linear
from mdlake.models.training import TrainingOptions
from mdlake.shrink.outputs import output_curvature
from mdlake.shrink.quantize import quantize_linear
from mdlake.shrink.quantize.rate_distortion import RateOptions, quantize_by_rate
from mdlake.shrink.stages.making import Data, Making

Attempted = tuple[nn.Module, dict[str, Linear], float]
"""The rounded network, its schemes, its score."""

_BIAS_BITS, _BATCH = 8, 1024
_TRIES = 7


@dataclass(frozen=True)
class RoundByRate:
    """Levels for all Linear and Conv2d layers by `quantize.rate_distortion`; biases become integers of 8 bits.

    `price`: the loss that a bit may cost. 0: the highest that keeps the score at the floor, by bisection between
    `cheapest` and `dearest`. `rows` of the train split are what errors are measured on.
    """

    use: ClassVar[str] = "rate"
    price: float = 0.0
    rows: int = 8192
    cheapest: float = 1e-9
    dearest: float = 1e-4
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        if self.price < 0 or self.rows < 1 or not 0 < self.cheapest <= self.dearest:
            raise InvalidArgumentError("price is 0 or more, rows are 1 or more, and 0 < cheapest <= dearest")

    def run(self, making: Making, data: Data) -> None:
        rows = data.sample(-(-self.rows // _BATCH), self.training.seed, min(_BATCH, self.rows))
        task = data.train.task
        curvature = output_curvature(making.module, rows, task.loss, seed=self.training.seed)

        def attempt(price: float) -> Attempted:
            network = copy.deepcopy(making.module)
            found = quantize_by_rate(network, rows, curvature, RateOptions(price))
            for name, parameter in network.named_parameters():
                if parameter.dim() == 1:
                    found[name] = quantize_linear(parameter, _BIAS_BITS)
            restored = {name: scheme.restore() for name, scheme in found.items()}
            network.load_state_dict({**network.state_dict(), **restored})
            return network, found, data.measure(network)

        network, found, _ = attempt(self.price) if self.price else self._search(attempt, data.floor)
        making.model = replace(making.model, module=network)
        making.schemes |= found

    def __str__(self) -> str:
        return f"{self.use} {self.price:.4g}" if self.price else self.use

    def _search(self, attempt: Callable[[float], Attempted], floor: float) -> Attempted:
        low, high = self.cheapest, self.dearest
        best = attempt(low)
        if best[2] < floor:
            return best  # what is dearer is worse: the caller says that the budget cannot be met
        for _ in range(_TRIES):
            middle = (low * high) ** 0.5
            tried = attempt(middle)
            low, high = (middle, high) if tried[2] >= floor else (low, middle)
            best = tried if tried[2] >= floor else best
        return best
