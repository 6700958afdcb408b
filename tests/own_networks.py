"""What a user may bring: a network and inputs of stripes, importable as `tests.own_networks:...`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

NETWORK, INPUTS = "tests.own_networks:Lines", "tests.own_networks:halves"


class Lines(nn.Module):
    """(float32 [rows, 16, 16], float32 [rows]) -> logits [rows, 3]; with what may not be made on the device "meta"."""

    shift: torch.Tensor

    def __init__(self, hidden: int = 24, slope: float = 0.1) -> None:
        super().__init__()
        self.slopes = [slope.item() for slope in torch.linspace(slope, 2 * slope, 2)]
        self.scale = torch.tensor(2.0)  # neither a parameter nor a buffer
        self.register_buffer("shift", torch.full((), 0.5), persistent=False)
        self.norm = nn.BatchNorm1d(256)
        self.first = nn.Linear(256, hidden)
        self.last = nn.Linear(hidden + 1, 3)

    def forward(self, pixels: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
        values = self.norm(self.scale * (pixels.flatten(1) - self.shift))
        values = nn.functional.leaky_relu(self.first(values), self.slopes[0])
        return self.last(torch.cat([values, light[:, None]], 1))


@dataclass(frozen=True)
class Halves:
    """Binary column of 16 x 16 bytes -> pixels from 0 to 1, and how light they are in the mean."""

    column: str = "image"
    scale: int = 255

    @property
    def columns(self) -> list[str]:
        return [self.column]

    def transform(self, table: pa.Table) -> tuple[np.ndarray, ...]:
        cells = b"".join(table[self.column].to_pylist())
        pixels = np.frombuffer(cells, np.uint8).reshape(-1, 16, 16).copy()
        return pixels, pixels.mean((1, 2)).astype(np.float32)

    def tensors(self, arrays: Sequence[np.ndarray]) -> tuple[torch.Tensor, ...]:
        pixels, light = (torch.from_numpy(np.ascontiguousarray(array)).float() / self.scale for array in arrays)
        return pixels, light

    def to_json(self) -> dict[str, Any]:
        return {"column": self.column, "scale": self.scale}


class Tied(nn.Module):
    """Two names of one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(256, 256), nn.Linear(256, 256)
        self.second.weight = self.first.weight


def short(**options: Any) -> nn.Module:
    """Answers with too few logits."""
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 2))


def plain(hidden: int = 24) -> nn.Module:
    """float32 [rows, 1, 16, 16] -> logits [rows, 3]."""
    return nn.Sequential(nn.Flatten(), nn.Linear(256, hidden), nn.ReLU(), nn.Linear(hidden, 3))


def number(**options: Any) -> int:
    return 5


halves = Halves()
