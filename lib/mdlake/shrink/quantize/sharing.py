"""Training that sees shared values: the forward pass takes nearest centroids, the optimizer moves the weights.

A weight may change its centroid as it moves, and centroids follow the means of their weights, one round of Lloyd every
so many steps: k-means within training, with straight-through gradients (Bengio, Léonard and Courville, 2013), much as
DKM does softly (Cho et al., Differentiable k-Means Clustering Layer, 2022). What is zero stays outside of the codebook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

from mdlake.shrink.quantize.codebook import Codebook, shared_codebook

_EVERY = 16  # steps from one round of Lloyd to the next


class SharingAware(nn.Module):
    """Answers as `network` with one codebook for each group of parameters; trains the network it wraps.

    `groups`: names of parameters, and how many entries their codebook has.
    """

    def __init__(self, network: nn.Module, groups: Sequence[tuple[Sequence[str], int]]) -> None:
        super().__init__()
        self.network = network
        self._groups = [list(group) for group, _ in groups]
        self._steps = 0
        self._centroids = [self._first(*group) for group in groups]

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        weights = dict(self.network.named_parameters())
        if self.training:
            if self._steps % _EVERY == 0:
                self._move(weights)
            self._steps += 1
        seen: dict[str, torch.Tensor] = dict(weights)
        for group, centroids in zip(self._groups, self._centroids, strict=True):
            for name in group:
                shared = _nearest(weights[name].detach(), centroids)
                seen[name] = weights[name] + (shared - weights[name]).detach()
        return functional_call(self.network, seen, inputs)

    def codebooks(self) -> dict[str, Codebook]:
        """The codebooks that the weights have now, indices and float16 centroids."""
        found: dict[str, Codebook] = {}
        weights = dict(self.network.named_parameters())
        for group, centroids in zip(self._groups, self._centroids, strict=True):
            values = np.unique(centroids.cpu().numpy().astype(np.float16))
            middles = _middles(torch.from_numpy(values.astype(np.float32)))
            for name in group:
                weight = weights[name].detach().cpu()
                index = torch.where(weight == 0, 0, torch.bucketize(weight, middles) + 1)
                found[name] = Codebook(index.numpy().astype(np.uint8 if len(values) < 256 else np.uint16), values)
        return found

    def _first(self, group: Sequence[str], entries: int) -> torch.Tensor:
        weights: Mapping[str, torch.Tensor] = dict(self.network.named_parameters())
        books = shared_codebook({name: weights[name].detach() for name in group}, entries)
        return torch.from_numpy(books[group[0]].centroids.astype("float32")).to(weights[group[0]].device)

    @torch.no_grad()
    def _move(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Each centroid to the mean of its weights; one that has none stays where it is."""
        for place, (group, centroids) in enumerate(zip(self._groups, self._centroids, strict=True)):
            flat = torch.cat([weights[name].detach().flatten() for name in group])
            flat = flat[flat != 0]
            index = torch.bucketize(flat, _middles(centroids))
            sums = torch.zeros_like(centroids).index_add_(0, index, flat)
            counts = torch.bincount(index, minlength=len(centroids))
            means = torch.where(counts > 0, sums / counts.clamp_min(1), centroids)
            self._centroids[place] = means.sort().values


def _nearest(weights: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    if not len(centroids):
        return torch.zeros_like(weights)
    return torch.where(weights == 0, 0.0, centroids[torch.bucketize(weights, _middles(centroids))])


def _middles(centroids: torch.Tensor) -> torch.Tensor:
    return (centroids[1:] + centroids[:-1]) / 2
