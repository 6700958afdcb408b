"""Pruning: a score for each weight, a mask of the highest, and training that keeps to it.

masks            scores -> masks, per layer or over all layers, or semi-structured (2:4); masks on a network
magnitude        |w|, LAMP, and a fixed threshold
sensitivity      |w dL/dw|, and optimal brain damage
second_order     optimal brain surgeon by layer: what is left makes up for what goes
schedule         when training how much goes: cubic or geometric; pruned weights may come back
"""

from mdlake.shrink.prune.magnitude import (
    PruneOptions,
    lamp_scores,
    magnitude_masks,
    magnitude_scores,
    threshold_masks,
)
from mdlake.shrink.prune.masks import (
    Masks,
    apply_masks,
    count_nonzero,
    prunable,
    semi_structured_masks,
    sparsity,
    top_masks,
)
from mdlake.shrink.prune.second_order import prune_by_surgeon
from mdlake.shrink.prune.sensitivity import damage_scores, sensitivity_scores

__all__ = [
    "Masks",
    "PruneOptions",
    "apply_masks",
    "count_nonzero",
    "damage_scores",
    "lamp_scores",
    "magnitude_masks",
    "magnitude_scores",
    "prunable",
    "prune_by_surgeon",
    "semi_structured_masks",
    "sensitivity_scores",
    "sparsity",
    "threshold_masks",
    "top_masks",
]
