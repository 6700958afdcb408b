"""Pruning: a score for each weight, a mask of the highest, and training that keeps to it.

masks            scores -> masks, per layer or over all layers, or semi-structured (2:4); masks on a network
magnitude        |w|, LAMP, and a fixed threshold
sensitivity      |w dL/dw|, and optimal brain damage
second_order     optimal brain surgeon by layer: what is left makes up for what goes
schedule         when training how much goes: cubic or geometric; pruned weights may come back
"""

from mdlake.shrink.prune.magnitude import PruneOptions, magnitude_masks
from mdlake.shrink.prune.masks import Masks, apply_masks, count_nonzero, prunable, sparsity

__all__ = ["Masks", "PruneOptions", "apply_masks", "count_nonzero", "magnitude_masks", "prunable", "sparsity"]
