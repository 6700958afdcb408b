"""Structured pruning: whole filters and neurons go, and with them all that only served them.

channels    which channels of which layers belong together (a trace of the network)
importance  a score for each of these units
cut         takes units out: the modules really get smaller
macs        multiplications and additions of a forward pass
"""

from mdlake.shrink.structured.channels import channel_units
from mdlake.shrink.structured.cut import choose_units, prune_to_share, remove_units
from mdlake.shrink.structured.importance import fisher_scores, norm_scores, scale_scores, taylor_scores
from mdlake.shrink.structured.macs import macs

__all__ = [
    "channel_units",
    "choose_units",
    "fisher_scores",
    "macs",
    "norm_scores",
    "prune_to_share",
    "remove_units",
    "scale_scores",
    "taylor_scores",
]
