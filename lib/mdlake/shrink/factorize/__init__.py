"""Factorising: one layer becomes two smaller ones that do nearly the same.

ranks    how many factors to keep: by energy, by description length, by a share of the weights
layers   one Linear or Conv2d as two: by singular values, plain or weighted by the data that comes in
network  all layers of a network for which it pays
"""

from mdlake.shrink.factorize.network import factorize
from mdlake.shrink.factorize.ranks import by_description_length, by_energy, by_weights

__all__ = ["by_description_length", "by_energy", "by_weights", "factorize"]
