"""Networks of depthwise separable convolutions.

Howard et al., MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications (2017), table 1, for
small images: the first convolution keeps the image's size, and of the later ones only those whose width is reached for
the first time halve it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from mdlake.models.networks.sizes import check_sizes


@dataclass(frozen=True)
class MobileNetOptions:
    """`channels` of the images, `first` filters, then `widths` of the separable convolutions."""

    channels: int = 3
    first: int = 32
    widths: tuple[int, ...] = (64, 128, 128, 256, 256, 512, 512)
    outputs: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        check_sizes(self.channels, self.first, *self.widths, self.outputs)


class MobileNet(nn.Module):
    """float32 [rows, channels, height, width] -> logits float32 [rows, outputs]."""

    def __init__(self, options: MobileNetOptions) -> None:
        super().__init__()
        layers = [_normed(nn.Conv2d(options.channels, options.first, 3, padding=1, bias=False))]
        width = options.first
        for number, outputs in enumerate(options.widths):
            stride = 2 if number and outputs != width else 1
            deep = nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False)
            layers += [_normed(deep), _normed(nn.Conv2d(width, outputs, 1, bias=False))]
            width = outputs
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(width, options.outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = functional.adaptive_avg_pool2d(self.layers(images), 1)
        return self.out(values.flatten(1))


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())
