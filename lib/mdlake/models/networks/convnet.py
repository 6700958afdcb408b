"""Convolutions in stages, each ending in a max pooling, then a perceptron.

With filters of 6 and 16, kernels of 5 and hidden layers of 120 and 84 it is the LeNet-5 of 1998 with rectifiers, 61,706
parameters (LeCun et al., Gradient-based learning applied to document recognition, 1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.networks.sizes import check_sizes


@dataclass(frozen=True)
class ConvNetOptions:
    """Images of `channels` and `size` x `size` pixels; `stages`: the filters of the convolutions of each stage.

    `padding` of the first convolution; the others have none. `dropout` before each hidden layer and the last.
    """

    channels: int = 1
    size: int = 28
    stages: tuple[tuple[int, ...], ...] = ((32, 64),)
    kernel: int = 3
    padding: int = 0
    hidden: tuple[int, ...] = (160,)
    outputs: int = 10
    dropout: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(tuple(stage) for stage in self.stages))
        object.__setattr__(self, "hidden", tuple(self.hidden))
        filters = [count for stage in self.stages for count in stage]
        check_sizes(self.channels, self.size, self.kernel, *filters, *self.hidden, self.outputs)
        if type(self.padding) is not int or not 0 <= self.padding <= self.kernel:
            raise InvalidArgumentError(f"a padding is 0 to the kernel's size, not {self.padding!r}")
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise InvalidArgumentError(f"a dropout is a share from 0 to below 1, not {self.dropout!r}")
        if not filters or self.side < 1:
            raise InvalidArgumentError(f"images of {self.size} pixels are too small for these stages: {self.stages}")

    @property
    def side(self) -> int:
        """Of what the last pooling leaves."""
        side = self.size + 2 * self.padding
        for stage in self.stages:
            side = (side - len(stage) * (self.kernel - 1)) // 2
        return side


class ConvNet(nn.Module):
    """float32 [rows, channels, size, size] -> logits float32 [rows, outputs]."""

    def __init__(self, options: ConvNetOptions) -> None:
        super().__init__()
        convolutions: list[nn.Module] = []
        width, padding = options.channels, options.padding
        for stage in options.stages:
            for filters in stage:
                convolutions += [nn.Conv2d(width, filters, options.kernel, padding=padding), nn.ReLU()]
                width, padding = filters, 0
            convolutions.append(nn.MaxPool2d(2))
        self.convolutions = nn.Sequential(*convolutions)
        widths = (width * options.side**2, *options.hidden)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Dropout(options.dropout), nn.Linear(inputs, outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Dropout(options.dropout), nn.Linear(widths[-1], options.outputs))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(self.convolutions(images).flatten(1))
