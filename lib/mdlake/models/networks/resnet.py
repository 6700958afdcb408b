"""Residual networks for small images.

He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition (2016), section 4.2: three widths, each with the
same number of blocks of two convolutions; 6 `blocks` + 2 layers. Shortcuts that change width are convolutions of 1 x 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from mdlake.models.networks.sizes import check_depth, check_sizes


@dataclass(frozen=True)
class ResNetOptions:
    """`channels` of the images, `widths` of the parts, of which all but the first halve the image, `blocks` in each."""

    channels: int = 3
    widths: tuple[int, ...] = (16, 32, 64)
    blocks: int = 3
    outputs: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        check_sizes(self.channels, *self.widths, self.blocks, self.outputs)
        check_depth(self.blocks * len(self.widths))


class ResNet(nn.Module):
    """float32 [rows, channels, height, width] -> logits float32 [rows, outputs]."""

    def __init__(self, options: ResNetOptions) -> None:
        super().__init__()
        width = options.widths[0]
        self.first = _convolution(options.channels, width, 1)
        blocks = []
        for part, outputs in enumerate(options.widths):
            for number in range(options.blocks):
                blocks.append(Block(width, outputs, 2 if part and not number else 1))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.out = nn.Linear(width, options.outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = self.blocks(functional.relu(self.first(images)))
        return self.out(functional.adaptive_avg_pool2d(values, 1).flatten(1))


class Block(nn.Module):
    """Two convolutions and what goes past them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, stride)
        self.second = _convolution(outputs, outputs, 1)
        same = inputs == outputs and stride == 1
        self.past = nn.Identity() if same else _convolution(inputs, outputs, stride, kernel=1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        changed = self.second(functional.relu(self.first(values)))
        return functional.relu(changed + self.past(values))


def _convolution(inputs: int, outputs: int, stride: int, kernel: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))
