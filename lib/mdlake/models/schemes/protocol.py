"""What every scheme has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

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
