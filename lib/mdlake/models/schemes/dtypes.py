"""The dtypes of tensors that artifacts keep, by name, and how numpy has their values."""

from __future__ import annotations

import numpy as np
import torch

from mdlake.errors import CorruptError, InvalidArgumentError

PATTERNS = {
    torch.bfloat16: torch.uint16,
    torch.bool: torch.uint8,
    torch.float8_e4m3fn: torch.uint8,
    torch.float8_e4m3fnuz: torch.uint8,
    torch.float8_e5m2: torch.uint8,
    torch.float8_e5m2fnuz: torch.uint8,
}
"""The dtypes that numpy lacks, or has otherwise, and unsigned integers as wide."""
_NUMBERS = "float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"
DTYPES: dict[str, tuple[type[np.generic], torch.dtype]] = {
    **{name: (getattr(np, name), getattr(torch, name)) for name in _NUMBERS},
    **{
        str(dtype).removeprefix("torch."): (getattr(np, str(pattern).removeprefix("torch.")), dtype)
        for dtype, pattern in PATTERNS.items()
    },
}
NAMES = {dtype: name for name, (_, dtype) in DTYPES.items()}


def name_of(dtype: torch.dtype) -> str:
    """Raises `InvalidArgumentError`: no artifact keeps it."""
    if dtype not in NAMES:
        raise InvalidArgumentError(f"no artifact keeps {str(dtype).removeprefix('torch.')}")
    return NAMES[dtype]


def kept_as(name: object) -> np.dtype:
    """The numpy dtype of that name's values or patterns. Raises `CorruptError`: there is none."""
    if not isinstance(name, str) or name not in DTYPES:
        raise CorruptError(f"no tensor has the dtype {name!r}")
    return np.dtype(DTYPES[name][0])


def values_of(tensor: torch.Tensor) -> np.ndarray:
    """All values in row-major order, or their patterns: 1-D."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(PATTERNS.get(flat.dtype, flat.dtype)).numpy()


def tensor_of(values: np.ndarray, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The inverse of `values_of`; shares their memory."""
    return torch.from_numpy(values).view(DTYPES[name][1]).reshape(shape)
