"""Structured pruning as a stage: channels and neurons go, the network gets narrower, then fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.training import TrainingOptions
from mdlake.shrink.stages.making import Data, Making
from mdlake.shrink.structured.channels import Units
from mdlake.shrink.structured.cut import prune_to_share
from mdlake.shrink.structured.importance import fisher_scores, norm_scores, taylor_scores

_BATCHES = 8  # that importance is measured on


@dataclass(frozen=True)
class Cut:
    """At most `share` of the multiplications ("macs") or "parameters" are left; `score`: fisher, taylor or norm.

    In `rounds` equal steps, each with the `training`: what is important changes as others go.
    """

    use: ClassVar[str] = "cut"
    share: float = 0.5
    of: str = "macs"
    score: str = "fisher"
    rounds: int = 1
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or self.rounds < 1:
            raise InvalidArgumentError("share is above 0 and at most 1, rounds are 1 or more")
        if self.of not in ("macs", "parameters"):
            raise InvalidArgumentError(f"what is saved is macs or parameters, not {self.of!r}")
        if self.score not in ("fisher", "taylor", "norm"):
            raise InvalidArgumentError(f"score is fisher, taylor or norm, not {self.score!r}")

    def run(self, making: Making, data: Data) -> None:
        making.need_whole(self.use)
        example = tuple(tensor[:1] for tensor in data.held[0].inputs)
        for _ in range(self.rounds):
            score, share = self._scorer(making, data), self.share ** (1 / self.rounds)
            prune_to_share(making.module, example, score, share, self.of, by_cost=self.score != "norm")
            making.tune(data, self.training)

    def __str__(self) -> str:
        return f"{self.use} {self.share:.4g}"

    def _scorer(self, making: Making, data: Data) -> Callable[[nn.Module, Units], np.ndarray]:
        if self.score == "norm":
            return norm_scores
        rows, measure = data.sample(_BATCHES, self.training.seed), fisher_scores
        if self.score == "taylor":
            measure = taylor_scores
        return lambda network, units: measure(network, units, rows, data.train.task.loss)
