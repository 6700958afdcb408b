"""Folding of batch norms as a stage, behind all training: their statistics take no bytes any more."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from mdlake.models.training import TrainingOptions
from mdlake.shrink.quantize.norms import fold_norms
from mdlake.shrink.stages.making import Data, Making, restored


@dataclass(frozen=True)
class Fold:
    """`quantize.norms`, unless that brings the score below the floor; a network without batch norms stays as it is.

    The last stage: what is trained afterwards has its norms count anew.
    """

    use: ClassVar[str] = "fold"
    training: TrainingOptions = field(default_factory=TrainingOptions)  # as all stages have; there is none

    def run(self, making: Making, data: Data) -> None:
        module, schemes = fold_norms(making.module, making.schemes)
        score = data.measure(restored(module, schemes))
        if score >= data.floor or score >= data.measure(restored(making.module, making.schemes)):
            making.model = replace(making.model, module=module)
            making.schemes = schemes
            making.folded = True

    def __str__(self) -> str:
        return self.use
