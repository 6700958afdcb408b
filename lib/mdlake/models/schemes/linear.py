"""Integer levels times a scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from mdlake.models.schemes.protocol import Shape


@dataclass(frozen=True, eq=False)
class Linear:
    """Integer levels times a float32 scale, symmetric about 0: one scale, or one per index of axis 0."""

    name: ClassVar[str] = "linear"
    has_levels: ClassVar[bool] = True
    row: ClassVar[int] = 0
    levels: np.ndarray  # int8, of the tensor's shape
    scale: np.ndarray  # float32 [1] or [shape[0]]
    bits: int

    @property
    def about(self) -> dict[str, Any]:
        one = {"scale": float(str(self.scale[0]))} if len(self.scale) == 1 else {}
        return {"bits": self.bits, **one}

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return {} if len(self.scale) == 1 else {"scale": self.scale}

    @classmethod
    def roles(cls, about: Mapping[str, Any], shape: Shape) -> dict[str, tuple[np.dtype, int]]:
        return {} if "scale" in about else {"scale": (np.dtype(np.float32), shape[0])}

    @classmethod
    def read(cls, about: Mapping[str, Any], shape: Shape, arrays: Mapping[str, np.ndarray]) -> Linear:
        scale = np.array([about["scale"]], np.float32) if "scale" in about else arrays["scale"]
        return cls(arrays["levels"], scale, int(about["bits"]))

    def restore(self) -> torch.Tensor:
        scale = self.scale.reshape(-1, *[1] * (self.levels.ndim - 1)) if self.levels.ndim else self.scale[0]
        return torch.from_numpy(np.asarray(self.levels.astype(np.float32) * scale, np.float32))
