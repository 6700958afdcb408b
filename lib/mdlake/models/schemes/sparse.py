"""Many zeros: where a tensor is not zero, and its values there, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
import torch

from mdlake.errors import CorruptError
from mdlake.kernels import zeros as kernel
from mdlake.models.schemes.dtypes import kept_as, name_of, tensor_of, values_of
from mdlake.models.schemes.protocol import Shape

_FEWEST, _SHARE, _LOOKED_AT = 64, 16, 1 << 12


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
        """None where zeros are too few to be worth it, or it is no matrix: a sixteenth, half of that in a sample."""
        if tensor.dim() < 2 or tensor.numel() < _FEWEST:
            return None
        dtype, values = name_of(tensor.dtype), values_of(tensor)
        bits = values.view(f"u{values.itemsize}")
        some = bits[:: len(bits) // _LOOKED_AT + 1]
        if np.count_nonzero(some << 1) * 2 * _SHARE > len(some) * (2 * _SHARE - 1):
            return None
        mask, found = np.empty(len(bits), np.uint8), np.empty(len(bits) + 1, bits.dtype)
        count = kernel.take_out(bits, mask, found)
        if (len(bits) - count) * _SHARE < len(bits):
            return None
        return cls(dtype, mask, found[:count].view(values.dtype), tuple(tensor.shape))

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
        ones, highest = kernel.survey(mask)
        if highest > 2 or ones != len(values):
            raise CorruptError(f"the mask does not have a place for each of {len(values)} values")
        return cls(about["dtype"], mask, values, shape)

    def restore(self) -> torch.Tensor:
        dense = np.empty(len(self.mask), self.values.dtype)
        unsigned = f"u{dense.itemsize}"
        values = self.values if len(self.values) else np.zeros(1, dense.dtype)
        kernel.put_back(self.mask, values.view(unsigned), dense.view(unsigned))
        return tensor_of(dense, self.dtype, self.shape)
