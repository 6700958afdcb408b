"""Codebook quantisation: a tensor's weights share a few values, which are found by k-means and can be trained.

Han, Mao and Dally, Deep Compression (2016), section 3: centroids start evenly spread between the least and
the greatest weight, where large weights, which are few but count most, keep centroids of their own. Zero is
a value of its own outside the codebook, so that what is pruned stays pruned. With an importance per weight
the k-means is weighted (Choi, El-Khamy and Lee, Towards the Limit of Network Quantization, 2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

from mdlake.errors import InvalidArgumentError

_ROUNDS = 100


@dataclass(frozen=True, eq=False)
class Codebook:
    """A tensor as indices: 0 stands for zero, i for centroids[i - 1]."""

    indices: np.ndarray  # uint8, or uint16 beyond 255 centroids, of the tensor's shape
    centroids: np.ndarray  # float16 [count], ascending

    def restore(self) -> torch.Tensor:
        """float32, of the tensor's shape."""
        values = np.concatenate([np.zeros(1, np.float32), self.centroids.astype(np.float32)])
        return torch.from_numpy(values[self.indices])


def build_codebook(weights: torch.Tensor, count: int, importance: torch.Tensor | None = None) -> Codebook:
    """The codebook of one tensor, of at most `count` centroids."""
    given = None if importance is None else {"": importance}
    return shared_codebook({"": weights}, count, given)[""]


def shared_codebook(
    weights: Mapping[str, torch.Tensor], count: int, importance: Mapping[str, torch.Tensor] | None = None
) -> dict[str, Codebook]:
    """One codebook for all tensors: each has indices of its own, all have the same centroids."""
    if not 1 <= count < 1 << 16:
        raise InvalidArgumentError(f"a codebook has from 1 to 65535 centroids, not {count}")
    flat = np.concatenate([_flat(tensor) for tensor in weights.values()] or [np.zeros(0)])
    used = flat != 0
    weighted = None
    if importance is not None:
        weighted = np.concatenate([_flat(importance[name]) for name in weights])[used]
    centroids = _half(k_means(flat[used], count, weighted))
    indices = np.zeros(flat.size, np.uint8 if len(centroids) < 256 else np.uint16)
    indices[used] = _nearest(flat[used], centroids.astype(np.float64)) + 1
    parts = np.split(indices, np.cumsum([tensor.numel() for tensor in weights.values()])[:-1])
    return {
        name: Codebook(part.reshape(weights[name].shape), centroids) for name, part in zip(weights, parts, strict=True)
    }


def k_means(values: np.ndarray, count: int, importance: np.ndarray | None = None) -> np.ndarray:
    """At most `count` centroids of numbers, float64, ascending; those that no value is nearest to are left out.

    Lloyd's rounds on sorted values: a cluster is a range, and its mean a difference of running sums.
    """
    if not np.isfinite(values).all():
        raise InvalidArgumentError("weights that are not finite cannot be quantised")
    order = np.argsort(values, kind="stable")
    ordered = values[order].astype(np.float64)
    weight = np.ones(len(ordered)) if importance is None else _positive(importance[order])
    sums = np.concatenate([[0.0], np.cumsum(ordered * weight)])
    sizes = np.concatenate([[0.0], np.cumsum(weight)])
    centroids = np.linspace(ordered[0], ordered[-1], count) if len(ordered) else np.zeros(0)
    for _ in range(_ROUNDS):
        edges = _edges(ordered, centroids)
        inside = np.diff(edges) > 0
        means = np.diff(sums[edges])[inside] / np.diff(sizes[edges])[inside]
        if len(means) == len(centroids) and np.array_equal(means, centroids):
            break
        centroids = np.unique(means)
    return centroids


class TrainedCentroids(nn.Module):
    """Answers as `network` with the tensors of `codebooks` in place; the centroids are what is trained.

    Each centroid's gradient is the sum of those of its weights (Deep Compression, equation 3). Tensors that
    share one array of centroids go on sharing it. Parameters without a codebook train as they are.
    """

    def __init__(self, network: nn.Module, codebooks: Mapping[str, Codebook]) -> None:
        super().__init__()
        self.network = network
        self._shapes = {name: book.indices.shape for name, book in codebooks.items()}
        keys = {id(book.centroids): book.centroids for book in codebooks.values()}
        places = {key: place for place, key in enumerate(keys)}
        self._places = {name: places[id(book.centroids)] for name, book in codebooks.items()}
        self.centroids = nn.ParameterList([nn.Parameter(torch.from_numpy(c.astype(np.float32))) for c in keys.values()])
        for place, (name, book) in enumerate(codebooks.items()):
            if name not in dict(network.named_parameters()):
                raise InvalidArgumentError(f"the network has no parameter {name!r} to put a codebook in place of")
            self.register_buffer(f"indices_{place}", torch.from_numpy(book.indices.astype(np.int64).reshape(-1)))

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return functional_call(self.network, self._weights(), inputs)

    def codebooks(self) -> dict[str, Codebook]:
        """As trained, with centroids rounded to float16."""
        halves = [_half(c.detach().cpu().numpy()) for c in self.centroids]
        found = {}
        for place, (name, shape) in enumerate(self._shapes.items()):
            indices = self.get_buffer(f"indices_{place}").cpu().numpy().reshape(shape)
            centroids = halves[self._places[name]]
            found[name] = Codebook(indices.astype(np.uint8 if len(centroids) < 256 else np.uint16), centroids)
        return found

    @torch.no_grad()
    def finish(self) -> dict[str, Codebook]:
        """Puts the rounded weights into the network; returns the codebooks, which restore exactly these."""
        books, parameters = self.codebooks(), dict(self.network.named_parameters())
        for name, book in books.items():
            parameters[name].copy_(book.restore())
        return books

    def _weights(self) -> dict[str, torch.Tensor]:
        values = [torch.cat([c.new_zeros(1), c]) for c in self.centroids]
        return {
            name: values[self._places[name]].index_select(0, self.get_buffer(f"indices_{place}")).view(shape)
            for place, (name, shape) in enumerate(self._shapes.items())
        }


def _edges(ordered: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Where in the sorted values the cluster of each centroid begins, and where the last ends."""
    middles = (centroids[1:] + centroids[:-1]) / 2
    return np.concatenate([[0], np.searchsorted(ordered, middles, side="right"), [len(ordered)]])


def _nearest(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    return np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values, side="left")


def _half(centroids: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        halves = centroids.astype(np.float16)
    if not np.isfinite(halves).all():
        raise InvalidArgumentError("weights beyond 65504 do not fit a float16 codebook: scale the layer down first")
    return halves


def _positive(importance: np.ndarray) -> np.ndarray:
    """An importance of 0 everywhere in a cluster would leave it without a mean."""
    top = float(importance.max(initial=0.0))
    return np.maximum(importance.astype(np.float64), 1e-12 * top if top > 0 else 1.0)


def _flat(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy().reshape(-1)
