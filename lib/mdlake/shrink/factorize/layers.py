"""One layer as two, by singular value decomposition.

Linear: W is nearly U V (Denil et al., Predicting Parameters in Deep Learning, 2013; Denton et al., 2014).
Conv2d by channels: few k x k filters, mixed by a 1 x 1 convolution (Zhang, Zou, He and Sun, Accelerating Very
Deep Convolutional Networks, 2016). Conv2d in space: k x 1 filters, then 1 x k (Jaderberg, Vedaldi and
Zisserman, Speeding up Convolutional Neural Networks with Low Rank Expansions, 2014).

With the second moments A of what comes in, it is the error of the outputs that is least, not that of the
weights: W L is decomposed, L the Cholesky factor of A, and L taken out of the right factor again (Wang et al.,
SVD-LLM, 2025; Yuan et al., ASVD, 2023, use a diagonal in L's place).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from mdlake.models.networks.resized import convolution_along
from mdlake.shrink.inputs import Layer

_DAMPING = 1e-4  # of the mean of A's diagonal: directions that no data went into keep a little weight


@dataclass(frozen=True)
class Factors:
    """A matrix as `left` [m, k] times `right` [k, n], both float64, with the best rank r in the first r.

    `values` are the singular values that tell how much each is worth.
    """

    left: torch.Tensor
    right: torch.Tensor
    values: torch.Tensor


def factors(matrix: torch.Tensor, second: torch.Tensor | None = None) -> Factors:
    """All factors of a matrix [m, n]; `second` are the moments [n, n] of what it is multiplied with."""
    matrix = matrix.detach().double()
    if second is None:
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    else:
        damped = (
            second.double() + _DAMPING * second.diagonal().mean().clamp_min(1e-30) * torch.eye(len(second)).double()
        )
        root = torch.linalg.cholesky(damped)
        left, values, right = torch.linalg.svd(matrix @ root, full_matrices=False)
        right = torch.linalg.solve_triangular(root, right, upper=False, left=False)
    even = values.clamp_min(0).sqrt()  # both layers get weights of about one size
    return Factors(left * even, even.unsqueeze(1) * right, values)


def split_linear(layer: nn.Linear, found: Factors, rank: int) -> nn.Sequential:
    """The layer as two of the first `rank` factors of its weight."""
    first = nn.Linear(layer.in_features, rank, bias=False)
    second = nn.Linear(rank, layer.out_features, bias=layer.bias is not None)
    return _filled(layer, first, second, found.right[:rank], found.left[:, :rank])


def split_channels(layer: nn.Conv2d, found: Factors, rank: int) -> nn.Sequential:
    """`rank` filters of the same size, and a 1 x 1 convolution; factors of the weight as [outputs, the rest]."""
    first = convolution_along(layer, layer.in_channels, rank, (0, 1), bias=False)
    second = nn.Conv2d(rank, layer.out_channels, 1, bias=layer.bias is not None)
    return _filled(layer, first, second, found.right[:rank], found.left[:, :rank])


def split_space(layer: nn.Conv2d, found: Factors, rank: int) -> nn.Sequential:
    """`rank` filters of height k and width 1, then those of height 1; factors of `space_matrix`."""
    height, width = layer.kernel_size
    first = convolution_along(layer, layer.in_channels, rank, (0,), bias=False)
    second = convolution_along(layer, rank, layer.out_channels, (1,), bias=layer.bias is not None)
    left = found.left[:, :rank].reshape(layer.out_channels, width, rank).permute(0, 2, 1)
    return _filled(layer, first, second, found.right[:rank].reshape(rank, -1, height), left)


def space_matrix(layer: nn.Conv2d) -> torch.Tensor:
    """The weight as [outputs x width, inputs x height]."""
    weight = layer.weight.detach()
    return weight.permute(0, 3, 1, 2).reshape(weight.shape[0] * weight.shape[3], -1)


def can_split(layer: Layer) -> bool:
    """Whether a layer is one of those here: no groups, and padding by zeros of stated sizes."""
    if isinstance(layer, nn.Linear):
        return True
    return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


@torch.no_grad()
def _filled(layer: Layer, first: Layer, second: Layer, right: torch.Tensor, left: torch.Tensor) -> nn.Sequential:
    first, second = first.to(layer.weight), second.to(layer.weight)
    first.weight.copy_(right.reshape(first.weight.shape))
    second.weight.copy_(left.reshape(second.weight.shape))
    if second.bias is not None and layer.bias is not None:
        second.bias.copy_(layer.bias)
    return nn.Sequential(first, second).train(layer.training)
