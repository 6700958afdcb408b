"""Weights rounded by one rule for all layers, as the literature names it: nearest, GPTQ, binary, ternary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.schemes import Linear
from mdlake.models.training import TrainingOptions
from mdlake.shrink.aware import FakeQuantized, RoundingAware
from mdlake.shrink.prune.schedule import HardMasks
from mdlake.shrink.quantize import check_linear, quantize_linear
from mdlake.shrink.quantize.feedback import quantize_with_feedback
from mdlake.shrink.quantize.signs import binarize, ternarize
from mdlake.shrink.stages.making import Data, Making

_RULES = ("nearest", "feedback", "binary", "ternary")
_BATCHES = 4  # that the inputs' moments are measured on
_VECTOR_BITS = 8


@dataclass(frozen=True)
class Round:
    """All matrices by `rule`: to the "nearest" of `bits` bits, with "feedback" (GPTQ), or "binary" or "ternary".

    `granularity`: a scale per "tensor" or "channel". `aware`: training that sees the rounding, straight through it
    (Bengio, Léonard and Courville, 2013); without, nothing is trained. Vectors get 8 bits.
    """

    use: ClassVar[str] = "round"
    rule: str = "nearest"
    bits: int = 8
    granularity: str = "channel"
    aware: TrainingOptions | None = None
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        check_linear(self.bits, self.granularity)
        if self.rule not in _RULES:
            raise InvalidArgumentError(f"a rule is one of {', '.join(_RULES)}, not {self.rule!r}")
        if self.rule == "feedback" and self.aware:
            raise InvalidArgumentError("feedback rounds what was trained: it has no training of its own")

    def run(self, making: Making, data: Data) -> None:
        if making.masks and self.rule in ("feedback", "binary"):
            raise InvalidArgumentError(f"{self.rule} rounding would bring pruned weights back", stage=self.use)
        network = making.module
        matrices = {name: weight for name, weight in network.named_parameters() if weight.dim() >= 2}
        if self.rule == "feedback":
            rows = data.sample(_BATCHES, self.training.seed)
            making.schemes |= quantize_with_feedback(network, rows, self.bits, self.granularity)
        else:
            if self.aware:
                hold = partial(HardMasks(making.masks).after_step, network)
                making.tune(data, self.aware, self._seen(network, list(matrices)), after_step=hold)
            making.schemes |= {name: self._rounder(weight.detach()) for name, weight in matrices.items()}
        making.schemes |= {
            name: quantize_linear(vector.detach(), _VECTOR_BITS, self.granularity)
            for name, vector in network.named_parameters()
            if name not in making.schemes
        }

    def __str__(self) -> str:
        bits = f" {self.bits}" if self.rule in ("nearest", "feedback") else ""
        return f"{self.use} {self.rule}{bits}"

    def _seen(self, network: nn.Module, names: list[str]) -> nn.Module:
        """The network as it answers while it is trained."""
        if self.rule == "nearest":
            return FakeQuantized(network, dict.fromkeys(names, self.bits), self.granularity)
        return RoundingAware(network, names, self._rounder)

    @property
    def _rounder(self) -> Callable[[torch.Tensor], Linear]:
        rules = {"binary": binarize, "ternary": ternarize}
        if self.rule in rules:
            return partial(rules[self.rule], granularity=self.granularity)
        return partial(quantize_linear, bits=self.bits, granularity=self.granularity)
