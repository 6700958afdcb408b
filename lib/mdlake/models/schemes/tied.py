"""A tensor that is another one under a second name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from mdlake.models.schemes.codebook import Codebook
from mdlake.models.schemes.linear import Linear
from mdlake.models.schemes.plain import Plain
from mdlake.models.schemes.protocol import Shape
from mdlake.models.schemes.sparse import Sparse


@dataclass(frozen=True, eq=False)
class Tied:
    """The very tensor that comes before under another name, as an embedding that is the last layer too."""

    name: ClassVar[str] = "tied"
    has_levels: ClassVar[bool] = False
    row: ClassVar[int] = 0
    of: str
    kept: Plain | Sparse | Linear | Codebook

    @property
    def about(self) -> dict[str, Any]:
        return {"of": self.of}

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return {}

    @classmethod
    def roles(cls, about: Mapping[str, Any], shape: Shape) -> dict[str, tuple[np.dtype, int]]:
        return {}

    def restore(self) -> torch.Tensor:
        return self.kept.restore()
