"""Pruning as a stage: masks at once, or while training, where what was pruned may come back; then fine-tuning.

At once: Han et al. (2015). While training: see `mdlake.shrink.prune.schedule`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import steps_per_epoch
from mdlake.models.training import TrainingOptions
from mdlake.shrink.prune.magnitude import lamp_scores, magnitude_scores
from mdlake.shrink.prune.masks import SCOPES, check_sparsity, prunable, top_masks
from mdlake.shrink.prune.schedule import GeometricRamp, HardMasks, SoftMasks
from mdlake.shrink.stages.making import Data, Making
from mdlake.shrink.structured.ordering import sort_units

_SCORES = {"magnitude": magnitude_scores, "lamp": lamp_scores}


@dataclass(frozen=True)
class Prune:
    """`sparsity` of the weights become zero, those with the lowest `score`, ranked over all or in each (`scope`).

    `ramp_epochs`: over so many epochs of training, not at once; masks are taken anew every `every` steps, and for the
    last `settle` of the epochs the sparsity is the final one. `biases`: whether biases are pruned as weights are.
    `sort`: puts hidden units in the order in which they take the fewest bytes.
    """

    use: ClassVar[str] = "prune"
    sparsity: float = 0.5
    score: str = "magnitude"
    scope: str = "global"
    biases: bool = False
    ramp_epochs: int = 0
    settle: float = 0.3
    every: int = 32
    sort: bool = True
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        check_sparsity(self.sparsity)
        if self.score not in _SCORES or self.scope not in SCOPES:
            raise InvalidArgumentError(
                f"score is one of {', '.join(_SCORES)} and scope of {', '.join(SCOPES)}, not {self.score}, {self.scope}"
            )
        if self.ramp_epochs < 0 or not 0 <= self.settle < 1:
            raise InvalidArgumentError("ramp_epochs are 0 or more, settle is a share from 0 to below 1")

    def run(self, making: Making, data: Data) -> None:
        masks = self._ramp(making, data) if self.ramp_epochs else self._at_once(making)
        hard = HardMasks(masks)
        hard.before_step(making.module)
        making.masks = masks
        making.tune(data, self.training, after_step=partial(hard.after_step, making.module))
        if self.sort:
            example = tuple(tensor[:1] for tensor in data.held[0].inputs)
            making.masks = sort_units(making.module, example, masks)

    def __str__(self) -> str:
        return f"{self.use} {self.sparsity:.4g}"

    def _at_once(self, making: Making) -> dict:
        weights = prunable(making.module, self.biases)
        return top_masks(_SCORES[self.score](weights), self.sparsity, self.scope)

    def _ramp(self, making: Making, data: Data) -> dict:
        training = replace(self.training, epochs=self.ramp_epochs, final_rate=max(self.training.final_rate, 0.1))
        steps = self.ramp_epochs * steps_per_epoch(data.train.shards, training.batch_size, 1)
        density = 1.0 if not making.masks else _density(making)
        ramp = GeometricRamp(self.sparsity, max(1, round((1 - self.settle) * steps)), 1 - density)
        soft = SoftMasks(ramp, _SCORES[self.score], self.every, self.scope, biases=self.biases)
        before, after = partial(soft.before_step, making.module), partial(soft.after_step, making.module)
        making.tune(data, training, before_step=before, after_step=after, keep_best=False)
        return soft.finish(making.module).masks


def _density(making: Making) -> float:
    kept = sum(int(mask.sum()) for mask in making.masks.values())
    return kept / sum(mask.numel() for mask in making.masks.values())
