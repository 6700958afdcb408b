"""LeNet-300-100 and LeNet-5, on which pruning and coding of networks are compared.

LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition (1998). LeNet-5 is the
variant that Caffe made common: 20 and 50 filters, max pooling, 500 hidden neurons, 431,080 parameters for MNIST.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from mdlake.errors import InvalidArgumentError
from mdlake.models.networks.sizes import check_sizes


@dataclass(frozen=True)
class PerceptronOptions:
    """`inputs` numbers of whatever shape, `hidden` layer widths, `outputs` logits."""

    inputs: int = 784
    hidden: tuple[int, ...] = (300, 100)
    outputs: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        check_sizes(self.inputs, *self.hidden, self.outputs)


class Perceptron(nn.Module):
    """float32 [rows, ...] -> logits float32 [rows, outputs]; by default LeNet-300-100, 266,610 parameters."""

    def __init__(self, options: PerceptronOptions) -> None:
        super().__init__()
        widths = (options.inputs, *options.hidden, options.outputs)
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        values = values.flatten(1)
        for layer in self.layers[:-1]:
            values = functional.relu(layer(values))
        return self.layers[-1](values)


@dataclass(frozen=True)
class LeNet5Options:
    """Images of `channels` and `size` x `size` pixels; `filters` of both convolutions, `hidden` neurons."""

    channels: int = 1
    size: int = 28
    filters: tuple[int, int] = (20, 50)
    hidden: int = 500
    outputs: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", tuple(self.filters))
        check_sizes(self.channels, self.size, *self.filters, self.hidden, self.outputs)
        if len(self.filters) != 2 or self.side < 1:
            raise InvalidArgumentError(f"two numbers of filters and 16 pixels or more are needed, not {self}")

    @property
    def side(self) -> int:
        """Of what the second pooling leaves."""
        return ((self.size - 4) // 2 - 4) // 2


class LeNet5(nn.Module):
    """float32 [rows, channels, size, size] -> logits float32 [rows, outputs]."""

    def __init__(self, options: LeNet5Options) -> None:
        super().__init__()
        first, second = options.filters
        self.conv1 = nn.Conv2d(options.channels, first, 5)
        self.conv2 = nn.Conv2d(first, second, 5)
        self.hidden = nn.Linear(second * options.side**2, options.hidden)
        self.out = nn.Linear(options.hidden, options.outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = functional.max_pool2d(self.conv1(images), 2)
        values = functional.max_pool2d(self.conv2(values), 2)
        return self.out(functional.relu(self.hidden(values.flatten(1))))
