"""Low rank as a stage: layers become two smaller ones, then fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.training import TrainingOptions
from mdlake.shrink.factorize.network import factorize
from mdlake.shrink.factorize.ranks import RankRule, by_description_length, by_energy, by_weights
from mdlake.shrink.inputs import layers_of
from mdlake.shrink.stages.making import Data, Making

_BATCHES = 8  # that the inputs' moments are measured on
_RULES = ("energy", "weights", "description length")


@dataclass(frozen=True)
class Factorize:
    """Ranks by `rule`: "energy" or "weights" to keep a `share` of, or "description length".

    `weighted`: what counts are the outputs on the train split, not the weights. `layers`: "all", or only "dense".
    """

    use: ClassVar[str] = "factorize"
    share: float = 0.9
    rule: str = "energy"
    weighted: bool = True
    layers: str = "all"
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        if self.rule not in _RULES or self.layers not in ("all", "dense"):
            raise InvalidArgumentError(f"rule is one of {_RULES}, layers all or dense, not {self.rule}, {self.layers}")
        if not 0 < self.share <= 1:
            raise InvalidArgumentError(f"share is above 0 and at most 1, not {self.share}")

    def run(self, making: Making, data: Data) -> None:
        making.need_whole(self.use)
        rows = data.sample(_BATCHES, self.training.seed) if self.weighted else None
        found = layers_of(making.module)
        names = [name for name, layer in found.items() if self.layers == "all" or isinstance(layer, nn.Linear)]
        factorize(making.module, self._rule(), rows, names=names)
        making.tune(data, self.training)

    def __str__(self) -> str:
        return f"{self.use} {self.share:.4g}"

    def _rule(self) -> RankRule:
        if self.rule == "description length":
            return by_description_length
        return by_energy(self.share) if self.rule == "energy" else by_weights(self.share)
