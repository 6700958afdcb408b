"""Pruning as a stage: masks at once, or while training, where what was pruned may come back; then fine-tuning.

At once: Han et al. (2015). While training: see `mdlake.shrink.prune.schedule`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batch, steps_per_epoch
from mdlake.models.training import TrainingOptions
from mdlake.shrink.curvature import RowsLoss
from mdlake.shrink.inputs import layers_in_order
from mdlake.shrink.prune.magnitude import lamp_scores, magnitude_scores
from mdlake.shrink.prune.masks import (
    SCOPES,
    Masks,
    check_sparsity,
    prunable,
    semi_structured_masks,
    shares_by_layer,
    top_masks,
)
from mdlake.shrink.prune.schedule import GeometricRamp, HardMasks, SoftMasks
from mdlake.shrink.prune.second_order import prune_by_surgeon
from mdlake.shrink.prune.sensitivity import damage_scores, sensitivity_scores
from mdlake.shrink.stages.making import Data, Making
from mdlake.shrink.structured.ordering import sort_units

_SCORES = {"magnitude": magnitude_scores, "lamp": lamp_scores}
_MEASURED = {"sensitivity": sensitivity_scores, "damage": damage_scores}
_SURGEON = "surgeon"
_PATTERNS = {"": None, "2:4": (2, 4)}
_BATCHES = 4  # that gradients and inputs are measured on


@dataclass(frozen=True)
class Prune:
    """`sparsity` of the weights become zero, those with the lowest `score`, ranked over all or in each (`scope`).

    score: of the weights alone, "magnitude" or "lamp"; by what the loss loses, "sensitivity" (|w dL/dw|) or "damage"
    (optimal brain damage); or "surgeon", which corrects the weights that stay (optimal brain surgeon). pattern:
    "2:4", of every four weights side by side two stay, whatever the sparsity; units then stay in their order.
    `ramp_epochs`: over so many epochs of training, not at once; masks are taken anew every `every` steps, and for the
    last `settle` of the epochs the sparsity is the final one. `biases`: whether biases are pruned as weights are.
    `sort`: puts hidden units in the order in which they take the fewest bytes.
    """

    use: ClassVar[str] = "prune"
    sparsity: float = 0.5
    score: str = "magnitude"
    scope: str = "global"
    pattern: str = ""
    biases: bool = False
    ramp_epochs: int = 0
    settle: float = 0.3
    every: int = 32
    sort: bool = True
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        check_sparsity(self.sparsity)
        scores = (*_SCORES, *_MEASURED, _SURGEON)
        for name, known in (("score", scores), ("scope", SCOPES), ("pattern", _PATTERNS)):
            if getattr(self, name) not in known:
                told = ", ".join(choice or "empty" for choice in known)
                raise InvalidArgumentError(f"{name} is one of {told}, not {getattr(self, name)!r}")
        if self.score not in _SCORES and (self.biases or self.ramp_epochs):
            raise InvalidArgumentError(f"{self.score} ranks matrices, at once: without biases and ramp_epochs")
        if self.pattern and (self.biases or self.ramp_epochs):
            raise InvalidArgumentError("a pattern is of matrices, at once: without biases and ramp_epochs")
        if self.ramp_epochs < 0 or not 0 <= self.settle < 1:
            raise InvalidArgumentError("ramp_epochs are 0 or more, settle is a share from 0 to below 1")

    def run(self, making: Making, data: Data) -> None:
        masks = self._ramp(making, data) if self.ramp_epochs else self._at_once(making, data)
        hard = HardMasks(masks)
        hard.before_step(making.module)
        making.masks = masks
        making.tune(data, self.training, after_step=partial(hard.after_step, making.module))
        if self.sort and not self.pattern:
            example = tuple(tensor[:1] for tensor in data.held[0].inputs)
            making.masks = sort_units(making.module, example, masks)

    def __str__(self) -> str:
        return f"{self.use} {self.pattern or f'{self.sparsity:.4g}'}"

    def _at_once(self, making: Making, data: Data) -> Masks:
        network, pattern = making.module, _PATTERNS[self.pattern]
        if self.score in _SCORES:
            scores = _SCORES[self.score](prunable(network, self.biases))
        else:
            rows, loss = data.sample(_BATCHES, self.training.seed), data.train.task.loss
            if self.score == _SURGEON:
                return prune_by_surgeon(network, rows, self._shares(network, rows, loss), pattern)
            scores = _MEASURED[self.score](network, rows, loss)
        return semi_structured_masks(scores, *pattern) if pattern else top_masks(scores, self.sparsity, self.scope)

    def _shares(self, network: nn.Module, rows: list[Batch], loss: RowsLoss) -> float | dict[str, float]:
        """What the surgeon takes of each layer: over all layers together, as the damage ranks them."""
        if self.pattern or self.scope == "layer":
            return self.sparsity
        damage = damage_scores(network, rows, loss)
        return shares_by_layer(
            top_masks({name: damage[name] for name in layers_in_order(network, rows)}, self.sparsity)
        )

    def _ramp(self, making: Making, data: Data) -> Masks:
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
