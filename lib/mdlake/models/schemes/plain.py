"""A tensor's own values, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, ClassVar

import numpy as np
import torch

from mdlake.errors import CorruptError
from mdlake.models.schemes.dtypes import kept_as, name_of, tensor_of, values_of
from mdlake.models.schemes.protocol import Shape

_TOLD = {torch.float32: torch.int32, torch.int64: torch.int64}
"""The dtypes of which one value may be told in place of a block, and integers as wide."""


@dataclass(frozen=True)
class Plain:
    """The tensor's own values, bit for bit. What numpy lacks, as bfloat16, goes as its patterns.

    Where all are the same float32 or int64, that is told, and there is no block.
    """

    name: ClassVar[str] = "plain"
    has_levels: ClassVar[bool] = False
    tensor: torch.Tensor

    @property
    def about(self) -> dict[str, Any]:
        same = self._same
        return {"dtype": name_of(self.tensor.dtype)} | ({} if same is None else {"value": same})

    @property
    def is_told(self) -> bool:
        """Whether it takes no block."""
        return self._same is not None

    @property
    def row(self) -> int:
        return prod(self.tensor.shape[1:]) if self.tensor.dim() > 1 else 0

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return {} if self.is_told else {"": values_of(self.tensor)}

    @classmethod
    def roles(cls, about: Mapping[str, Any], shape: Shape) -> dict[str, tuple[np.dtype, int]]:
        kept = kept_as(about["dtype"])
        if "value" in about:
            _check_value(about["value"], kept)
            return {}
        return {"": (kept, prod(shape))}

    @classmethod
    def read(cls, about: Mapping[str, Any], shape: Shape, arrays: Mapping[str, np.ndarray]) -> Plain:
        if "value" in about:
            return cls(torch.from_numpy(np.full(shape, about["value"], kept_as(about["dtype"]))))
        return cls(tensor_of(arrays[""], about["dtype"], shape))

    def restore(self) -> torch.Tensor:
        return self.tensor

    @cached_property
    def _same(self) -> float | int | None:
        """The value of all, if it can be told as JSON."""
        if self.tensor.dtype not in _TOLD or not self.tensor.numel():
            return None
        bits = self.tensor.detach().cpu().contiguous().reshape(-1).view(_TOLD[self.tensor.dtype])
        if bits[0] != bits[-1] or not bool((bits == bits[0]).all()):
            return None
        value = bits[:1].view(self.tensor.dtype).item()
        return value if math.isfinite(value) else None


def _check_value(value: Any, dtype: np.dtype) -> None:
    if dtype == np.int64 and type(value) is int and -(1 << 63) <= value < 1 << 63:
        return
    if dtype == np.float32 and type(value) in (int, float) and abs(value) <= float(np.finfo(np.float32).max):
        return
    raise CorruptError(f"{value!r} is no value of a tensor of {dtype.name}")
