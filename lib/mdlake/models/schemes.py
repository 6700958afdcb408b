"""How a weight tensor is kept in an artifact: each scheme turns a tensor into blocks and back.

A scheme is a frozen dataclass and an entry in `SCHEMES`. `about` is what goes into the artifact's description
as JSON; `arrays` are one-dimensional, by role, and become blocks (`mdlake.artifact.arrays`); `levels` are small
integers of the tensor's shape, which all tensors of a network that have some share one block for. What `restore` gives
are exactly the weights that were evaluated: quantisation is done before, here nothing is lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from mdlake.errors import CorruptError

Shape = tuple[int, ...]


class Scheme(Protocol):
    """The protocol; `roles` maps each array's role to its dtype and length for a tensor of this shape."""

    name: ClassVar[str]
    has_levels: ClassVar[bool] = False

    @property
    def row(self) -> int:
        """How many values of an array belong to one place of the tensor's first dimension; 0: it has no other."""
        ...

    @property
    def about(self) -> dict[str, Any]: ...

    @property
    def arrays(self) -> dict[str, np.ndarray]: ...

    @classmethod
    def roles(cls, about: Mapping[str, Any], shape: Shape) -> dict[str, tuple[np.dtype, int]]: ...

    @classmethod
    def read(cls, about: Mapping[str, Any], shape: Shape, arrays: Mapping[str, np.ndarray]) -> Scheme:
        """`arrays`, which the scheme may keep: those of `roles`, and as "levels" the levels, int8 of the tensor's
        shape, where it has some."""
        ...

    def restore(self) -> torch.Tensor: ...


@dataclass(frozen=True)
class Plain:
    """The tensor's own values, bit for bit. bfloat16, which numpy lacks, goes as its 16-bit patterns.

    Where all are the same float32 or int64, that is told, and there is no block.
    """

    name: ClassVar[str] = "plain"
    has_levels: ClassVar[bool] = False
    tensor: torch.Tensor

    @property
    def about(self) -> dict[str, Any]:
        same = self._same
        return {"dtype": _NAMES[self.tensor.dtype]} | ({} if same is None else {"value": same})

    @property
    def row(self) -> int:
        return prod(self.tensor.shape[1:]) if self.tensor.dim() > 1 else 0

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        if self._same is not None:
            return {}
        flat = self.tensor.detach().cpu().contiguous().reshape(-1)
        return {"": (flat.view(torch.uint16) if flat.dtype is torch.bfloat16 else flat).numpy()}

    @classmethod
    def roles(cls, about: Mapping[str, Any], shape: Shape) -> dict[str, tuple[np.dtype, int]]:
        kept, _ = _DTYPES.get(about["dtype"], (None, None))
        if kept is None:
            raise CorruptError(f"no tensor has the dtype {about['dtype']!r}")
        if "value" in about:
            _check_value(about["value"], kept)
            return {}
        return {"": (np.dtype(kept), prod(shape))}

    @classmethod
    def read(cls, about: Mapping[str, Any], shape: Shape, arrays: Mapping[str, np.ndarray]) -> Plain:
        kept, dtype = _DTYPES[about["dtype"]]
        if "value" in about:
            return cls(torch.from_numpy(np.full(shape, about["value"], kept)))
        flat = torch.from_numpy(arrays[""])
        return cls((flat.view(dtype) if flat.dtype != dtype else flat).reshape(shape))

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


@dataclass(frozen=True, eq=False)
class Codebook:
    """Levels that name values of a book. Han, Mao and Dally (2016), section 3.

    Level 0 is 0; 1, 2, ... are the entries from 0 upwards, -1, -2, ... those below 0 downwards: a level has sign and
    rank of its value, which is what coding it profits from. `of` makes levels from places in a book.
    """

    name: ClassVar[str] = "codebook"
    has_levels: ClassVar[bool] = True
    row: ClassVar[int] = 0
    levels: np.ndarray  # int8, of the tensor's shape
    book: np.ndarray  # float32 [entries], ascending, each a value that float16 has; up to 127

    @classmethod
    def of(cls, places: np.ndarray, book: np.ndarray) -> Codebook:
        """Where `places` is 0, 0; where it is i, entry i - 1 of `book`, float16 in any order."""
        order = np.argsort(book, kind="stable")
        ranks = np.empty(len(book) + 1, np.int64)
        ranks[0] = 0
        ranks[order + 1] = _signed(np.arange(len(book)), int((book < 0).sum()))
        return cls(ranks[places].astype(np.int8), book[order].astype(np.float32))

    @property
    def about(self) -> dict[str, Any]:
        return {"book": [float(str(np.float16(value))) for value in self.book]}

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return {}

    @classmethod
    def roles(cls, about: Mapping[str, Any], shape: Shape) -> dict[str, tuple[np.dtype, int]]:
        return {}

    @classmethod
    def read(cls, about: Mapping[str, Any], shape: Shape, arrays: Mapping[str, np.ndarray]) -> Codebook:
        book, levels = np.array(about["book"], np.float16).astype(np.float32), arrays["levels"]
        if book.ndim != 1 or (np.diff(book) < 0).any() or np.isnan(book).any():
            raise CorruptError("a book is a list of numbers, ascending")
        below, lowest, highest = int((book < 0).sum()), levels.min(initial=0), levels.max(initial=0)
        if lowest < -below or highest > len(book) - below:
            raise CorruptError(
                f"levels from {lowest} to {highest}, but a book of {below} entries below 0 of {len(book)}"
            )
        return cls(levels, book)

    def restore(self) -> torch.Tensor:
        below = int((self.book < 0).sum())
        values = np.concatenate([self.book[:below], np.zeros(1, np.float32), self.book[below:]])
        return torch.from_numpy(values[self.levels.astype(np.int64) + below])


def _check_value(value: Any, dtype: type[np.generic]) -> None:
    if dtype is np.int64 and type(value) is int and -(1 << 63) <= value < 1 << 63:
        return
    if dtype is np.float32 and type(value) in (int, float) and abs(value) <= float(np.finfo(np.float32).max):
        return
    raise CorruptError(f"{value!r} is no value of a tensor of {dtype.__name__}")


def _signed(places: np.ndarray, below: int) -> np.ndarray:
    """Places in an ascending book, of which `below` entries are below 0, as levels."""
    return np.where(places < below, places - below, places - below + 1)


Kept = Plain | Linear | Codebook
SCHEMES: dict[str, type[Plain] | type[Linear] | type[Codebook]] = {
    kind.name: kind for kind in (Plain, Linear, Codebook)
}

_DTYPES: dict[str, tuple[type[np.generic], torch.dtype]] = {
    "float64": (np.float64, torch.float64),
    "float32": (np.float32, torch.float32),
    "float16": (np.float16, torch.float16),
    "bfloat16": (np.uint16, torch.bfloat16),
    "int64": (np.int64, torch.int64),
    "int32": (np.int32, torch.int32),
    "int16": (np.int16, torch.int16),
    "int8": (np.int8, torch.int8),
    "uint8": (np.uint8, torch.uint8),
}
_TOLD = {torch.float32: torch.int32, torch.int64: torch.int64}
"""The dtypes of which one value may be told in place of a block, and integers as wide."""
_NAMES = {dtype: name for name, (_, dtype) in _DTYPES.items()}
