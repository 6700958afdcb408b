"""Few-bit integers as a stage: training that sees them, then a search for how few bits each tensor can do with."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch

from mdlake.models.training import TrainingOptions
from mdlake.shrink.aware import FakeQuantized
from mdlake.shrink.prune.schedule import HardMasks
from mdlake.shrink.quantize import check_linear, search_bits, uniform_bits
from mdlake.shrink.stages.making import Data, Making


@dataclass(frozen=True)
class FewBits:
    """`bits` for all matrices to begin with; `granularity`: a scale per "tensor" or "channel"."""

    use: ClassVar[str] = "linear"
    bits: int = 8
    granularity: str = "tensor"
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        check_linear(self.bits, self.granularity)

    def run(self, making: Making, data: Data) -> None:
        network = making.module
        bits = uniform_bits(dict(network.named_parameters()), self.bits)
        hold = partial(HardMasks(making.masks).after_step, network)
        making.tune(data, self.training, FakeQuantized(network, bits, self.granularity), after_step=hold)
        weights = {name: parameter.detach().cpu().clone() for name, parameter in network.named_parameters()}
        probe = copy.deepcopy(network)

        def measure(restored: Mapping[str, torch.Tensor]) -> float:
            probe.load_state_dict({**probe.state_dict(), **restored})
            return data.measure(probe)

        found = search_bits(weights, measure, data.floor, self.bits, self.granularity)
        making.schemes |= found.schemes

    def __str__(self) -> str:
        return f"{self.use} {self.bits}"
