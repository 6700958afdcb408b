"""Many zeros: where a tensor is not zero, and its values there, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
import torch

from mdlake.errors import CorruptError
from mdlake.models.schemes.dtypes import kept_as, name_of, tensor_of, values_of
from mdlake.models.schemes.protocol import Shape

_FEWEST, _SHARE = 64, 16


@dataclass(frozen=True)
class Sparse:
    """Zeros have a sign, which pruning by multiplication leaves: 0 has no bit set, -0.0 the first alone."""

    name: ClassVar[str] = "sparse"
    has_levels: ClassVar[bool] = False
    row: ClassVar[int] = 0
    dtype: str
    mask: np.ndarray  # uint8, 1-D, of the tensor's entries: 1 where there is a value, 2 where there is -0.0
    values: np.ndarray  # 1-D, or their patterns
    shape: Shape

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Sparse | None:
        """None where zeros are too few to be worth it: less than a sixteenth, or no matrix."""
        if tensor.dim() < 2 or tensor.numel() < _FEWEST:
            return None
        values = values_of(tensor)
        bits = values.view(f"u{values.itemsize}")
        negative = bits == _negative_zero(values.itemsize)
        there = (bits != 0) & ~negative
        if (len(values) - int(np.count_nonzero(there))) * _SHARE < len(values):
            return None
        mask = there.view(np.uint8) + 2 * negative.view(np.uint8)
        return cls(name_of(tensor.dtype), mask, values[there], tuple(tensor.shape))

    @property
    def about(self) -> dict[str, Any]:
        return {"dtype": self.dtype, "count": len(self.values)}

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return {"mask": self.mask, "": self.values}

    @classmethod
    def roles(cls, about: Mapping[str, Any], shape: Shape) -> dict[str, tuple[np.dtype, int]]:
        count = about["count"]
        if type(count) is not int or not 0 <= count <= prod(shape):
            raise CorruptError(f"of {prod(shape)} entries {count!r} are not zero")
        return {"mask": (np.dtype(np.uint8), prod(shape)), "": (kept_as(about["dtype"]), count)}

    @classmethod
    def read(cls, about: Mapping[str, Any], shape: Shape, arrays: Mapping[str, np.ndarray]) -> Sparse:
        mask, values = arrays["mask"], arrays[""]
        if mask.max(initial=0) > 2 or np.count_nonzero(mask == 1) != len(values):
            raise CorruptError(f"the mask does not have a place for each of {len(values)} values")
        return cls(about["dtype"], mask, values, shape)

    def restore(self) -> torch.Tensor:
        dense = np.zeros(len(self.mask), self.values.dtype)
        dense[self.mask == 1] = self.values
        dense.view(f"u{dense.itemsize}")[self.mask == 2] = _negative_zero(dense.itemsize)
        return tensor_of(dense, self.dtype, self.shape)


def _negative_zero(width: int) -> int:
    """Its pattern, in so many bytes."""
    return 1 << (8 * width - 1)
