"""The stages of a recipe: each makes a network smaller in one way, and trains it to live with that.

making     what goes from stage to stage, and training within one
prune      weights become zero, at once or while training
codebook   weights share a few values, which are trained
linear     weights become few-bit integers, how few is searched
rate       the same without training: levels by what they cost in loss and in bits
"""

from mdlake.shrink.stages.codebook import ShareValues
from mdlake.shrink.stages.linear import FewBits
from mdlake.shrink.stages.making import Data, Making, Stage
from mdlake.shrink.stages.prune import Prune
from mdlake.shrink.stages.rate import RoundByRate

STAGES: dict[str, type[Prune] | type[ShareValues] | type[FewBits] | type[RoundByRate]] = {
    stage.use: stage for stage in (Prune, ShareValues, FewBits, RoundByRate)
}

__all__ = ["STAGES", "Data", "FewBits", "Making", "Prune", "RoundByRate", "ShareValues", "Stage"]
