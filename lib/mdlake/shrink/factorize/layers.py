"""One layer as two, by singular value decomposition.

Linear: W is nearly U V (Denil et al., Predicting Parameters in Deep Learning, 2013; Denton et al., 2014).
Conv2d by channels: few k x k filters, mixed by a 1 x 1 convolution (Zhang, Zou, He and Sun, Accelerating Very
Deep Convolutional Networks, 2016). Conv2d in space: k x 1 filters, then 1 x k (Jaderberg, Vedaldi and
Zisserman, Speeding up Convolutional Neural Networks with Low Rank Expansions, 2014).

With what comes out of the layer it is the error of the outputs that is least, not that of the weights: of the
outputs' covariance the first eigenvectors U are kept, W becomes U (U^T W), and the bias makes up for the mean
(Zhang et al. again, for dense layers as well; it is what a Cholesky factor of the inputs' moments gives: Wang et al.,
SVD-LLM, 2025).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from mdlake.models.networks.resized import convolution_along
from mdlake.shrink.inputs import Layer
from mdlake.shrink.outputs import Spread

_DAMPING = 1e-4  # of the outputs' energy, spread over the weights: directions that no data went into keep a little


@dataclass(frozen=True)
class Factors:
    """A matrix as `left` [m, k], orthonormal columns, times `right` [k, n], both float64, with the best rank r first.

    `values` are the singular values that tell how much each is worth. `mean` [m], float64: the outputs' mean, which
    the bias makes up for, or 0.
    """

    left: torch.Tensor
    right: torch.Tensor
    values: torch.Tensor
    mean: torch.Tensor

    def first(self, rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The weights of two layers, both of about one size, and what is added to the second's bias."""
        left, right = self.left[:, :rank], self.right[:rank]
        even = right.norm(dim=1).clamp_min(1e-30).sqrt()
        return left * even, right / even.unsqueeze(1), self.mean - left @ (left.T @ self.mean)


def factors(matrix: torch.Tensor, spread: Spread | None = None) -> Factors:
    """All factors of a matrix [m, n]; `spread` is that of its outputs."""
    matrix = matrix.detach().double().cpu()
    if spread is None:
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        return Factors(left, values.unsqueeze(1) * right, values, torch.zeros(len(matrix), dtype=torch.float64))
    seen = spread.basis.T @ matrix
    own = seen @ seen.T
    damped = spread.second + own * (_DAMPING * spread.second.trace() / own.trace().clamp_min(1e-30))
    squares, vectors = torch.linalg.eigh(damped)
    left = spread.basis @ vectors.flip(1)
    return Factors(left, left.T @ matrix, squares.flip(0).clamp_min(0).sqrt(), spread.basis @ spread.mean)


def split_linear(layer: nn.Linear, found: Factors, rank: int) -> nn.Sequential:
    """The layer as two of the first `rank` factors of its weight."""
    first = nn.Linear(layer.in_features, rank, bias=False)
    second = nn.Linear(rank, layer.out_features, bias=layer.bias is not None)
    return _filled(layer, first, second, *found.first(rank))


def split_channels(layer: nn.Conv2d, found: Factors, rank: int) -> nn.Sequential:
    """`rank` filters of the same size, and a 1 x 1 convolution; factors of the weight as [outputs, the rest]."""
    first = convolution_along(layer, layer.in_channels, rank, (0, 1), bias=False)
    second = nn.Conv2d(rank, layer.out_channels, 1, bias=layer.bias is not None)
    return _filled(layer, first, second, *found.first(rank))


def split_space(layer: nn.Conv2d, found: Factors, rank: int) -> nn.Sequential:
    """`rank` filters of height k and width 1, then those of height 1; factors of `space_matrix`."""
    _, width = layer.kernel_size
    first = convolution_along(layer, layer.in_channels, rank, (0,), bias=False)
    second = convolution_along(layer, rank, layer.out_channels, (1,), bias=layer.bias is not None)
    left, right, _ = found.first(rank)
    left = left.reshape(layer.out_channels, width, rank).permute(0, 2, 1)
    return _filled(layer, first, second, left, right, torch.zeros(layer.out_channels))


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
def _filled(
    layer: Layer, first: Layer, second: Layer, left: torch.Tensor, right: torch.Tensor, shift: torch.Tensor
) -> nn.Sequential:
    first, second = first.to(layer.weight), second.to(layer.weight)
    first.weight.copy_(right.reshape(first.weight.shape))
    second.weight.copy_(left.reshape(second.weight.shape))
    if second.bias is not None and layer.bias is not None:
        second.bias.copy_(layer.bias.double() + shift.to(layer.bias.device))
    return nn.Sequential(first, second).train(layer.training)
