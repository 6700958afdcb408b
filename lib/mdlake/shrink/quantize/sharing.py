"""Training that sees shared values: forward goes the nearest centroid, the optimizer moves weights and centroids.

A weight changes its centroid as it moves. Its gradient is that of the value that was taken in its place (straight
through: Bengio, Léonard and Courville, 2013), which is its centroid's too: k-means quantisation within training, much
as DKM does softly (Cho et al., Differentiable k-Means Clustering Layer, 2022). What is zero stays out of the codebook.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

from mdlake.shrink.quantize.codebook import Codebook, shared_codebook


class SharingAware(nn.Module):
    """Answers as `network` with one codebook for each group of parameters; trains the network it wraps, and centroids.

    `groups`: names of parameters, and how many entries their codebook has.
    """

    def __init__(self, network: nn.Module, groups: Sequence[tuple[Sequence[str], int]]) -> None:
        super().__init__()
        self.network = network
        self._groups = [list(group) for group, _ in groups]
        self.centroids = nn.ParameterList([nn.Parameter(self._first(*group)) for group in groups])

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        seen: dict[str, torch.Tensor] = dict(self.network.named_parameters())
        for group, centroids in zip(self._groups, self.centroids, strict=True):
            for name in group:
                seen[name] = _shared(seen[name], centroids)
        return functional_call(self.network, seen, inputs)

    @torch.no_grad()
    def codebooks(self) -> dict[str, Codebook]:
        """The codebooks that the weights have now, indices and float16 centroids."""
        found: dict[str, Codebook] = {}
        weights = dict(self.network.named_parameters())
        for group, centroids in zip(self._groups, self.centroids, strict=True):
            values = np.unique(centroids.cpu().numpy().astype(np.float16))
            known = torch.from_numpy(values.astype(np.float32))
            for name in group:
                weight = weights[name].cpu()
                index = np.zeros(tuple(weight.shape), np.uint8 if len(values) < 256 else np.uint16)
                index[(weight != 0).numpy()] = _nearest(weight[weight != 0], known).numpy() + 1
                found[name] = Codebook(index, values)
        return found

    def _first(self, group: Sequence[str], entries: int) -> torch.Tensor:
        weights = dict(self.network.named_parameters())
        books = shared_codebook({name: weights[name].detach() for name in group}, entries)
        return torch.from_numpy(books[group[0]].centroids.astype(np.float32)).to(weights[group[0]].device)


def _shared(weight: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """The weight with the nearest centroid in place of all that is not zero; gradients go to both."""
    flat = weight.flatten()
    places = flat.detach().nonzero().flatten()
    kept = flat[places]
    values = centroids[_nearest(kept.detach(), centroids.detach())] + (kept - kept.detach())
    return torch.zeros_like(flat).index_copy(0, places, values).view_as(weight)


def _nearest(values: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    return (values[:, None] - centroids).abs().argmin(1)
