"""The stages of a recipe: each makes a network smaller in one way, and trains it to live with that.

making     what goes from stage to stage, and training within one
prune      weights become zero, at once or while training
cut        channels and neurons go: fewer multiplications
factorize  layers become two of low rank
codebook   weights share a few values, which are trained
linear     weights become few-bit integers, how few is searched
round      the same by one rule for all: nearest, GPTQ, binary, ternary
rate       without training: levels by what they cost in loss and in bits
fold       batch norms lose their statistics
"""

from typing import Any

from mdlake.shrink.stages.codebook import ShareValues
from mdlake.shrink.stages.cut import Cut
from mdlake.shrink.stages.factorize import Factorize
from mdlake.shrink.stages.fold import Fold
from mdlake.shrink.stages.linear import FewBits
from mdlake.shrink.stages.making import Data, Making, Stage
from mdlake.shrink.stages.prune import Prune
from mdlake.shrink.stages.rate import RoundByRate
from mdlake.shrink.stages.rounding import Round

STAGES: dict[str, type[Any]] = {
    stage.use: stage for stage in (Prune, Cut, Factorize, ShareValues, FewBits, Round, RoundByRate, Fold)
}
"""By what recipes call them; each a `Stage`."""
SEARCHING = (FewBits, RoundByRate, Fold)
"""Those that look for what the budget allows, and so make other networks within another budget."""

__all__ = [
    "SEARCHING",
    "STAGES",
    "Cut",
    "Data",
    "Factorize",
    "FewBits",
    "Fold",
    "Making",
    "Prune",
    "Round",
    "RoundByRate",
    "ShareValues",
    "Stage",
]
