"""Images moved a little, turned or mirrored while training: what is in them stays the same.

Simard, Steinkraus and Platt, Best Practices for Convolutional Neural Networks (2003), section 2, without the elastic
part. One affine map for each image, drawn anew each time it is seen; what comes from outside repeats the border.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import affine_grid, grid_sample

from mdlake.errors import InvalidArgumentError


@dataclass(frozen=True)
class Augment:
    """How far at most, either way, each drawn evenly: `shift` in pixels, `rotate` and `shear` in degrees, `scale` as a
    share of the size. `flip`: every second image is mirrored, left for right.
    """

    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    flip: bool = False

    def __post_init__(self) -> None:
        if min(self.shift, self.rotate, self.scale, self.shear) < 0 or self.scale >= 1 or self.shear >= 90:
            raise InvalidArgumentError(
                "shift, rotate, scale and shear are 0 or more, scale below 1 and shear below 90 degrees"
            )

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """float [rows, channels, height, width] -> the same shape. Draws from torch's generator of the device."""
        if images.dim() != 4:
            raise InvalidArgumentError(f"only images can be augmented, not inputs of shape {list(images.shape[1:])}")
        height, width = images.shape[2:]
        draws = torch.rand(len(images), 6, device=images.device) * 2 - 1
        size = 1 + self.scale * draws[:, 0]
        angle, slant = math.radians(self.rotate) * draws[:, 1], (math.radians(self.shear) * draws[:, 2]).tan()
        mirror = torch.where(draws[:, 3] < 0, -1.0, 1.0) if self.flip else 1.0
        cosine, sine, ratio = size * angle.cos(), size * angle.sin(), height / width
        across, down = 2 * self.shift / width * draws[:, 4], 2 * self.shift / height * draws[:, 5]
        columns = torch.stack([mirror * cosine, (slant * cosine - sine) * ratio, across], 1)
        rows = torch.stack([mirror * sine / ratio, slant * sine + cosine, down], 1)
        maps = torch.stack([columns, rows], 1)
        grid = affine_grid(maps, list(images.shape), align_corners=False)
        return grid_sample(images, grid, padding_mode="border", align_corners=False)
