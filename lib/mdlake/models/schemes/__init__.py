"""How a weight tensor is kept in an artifact: each scheme turns a tensor into blocks and back.

    plain      the values, bit for bit
    sparse     those that are not zero, and where they are
    linear     small integers times a scale
    codebook   small integers that name values
    tied       as another tensor, which it is

A scheme is a frozen dataclass and an entry in `SCHEMES`. `about` is what goes into the artifact's description
as JSON; `arrays` are one-dimensional, by role, and become blocks (`mdlake.artifact.arrays`); `levels` are small
integers of the tensor's shape, which all tensors of a network that have some share one block for. What `restore` gives
are exactly the weights that were evaluated: quantisation is done before, here nothing is lost.
"""

from __future__ import annotations

import torch

from mdlake.models.schemes.codebook import Codebook
from mdlake.models.schemes.linear import Linear
from mdlake.models.schemes.plain import Plain
from mdlake.models.schemes.protocol import Scheme, Shape
from mdlake.models.schemes.sparse import Sparse
from mdlake.models.schemes.tied import Tied

Kept = Plain | Sparse | Linear | Codebook | Tied
SCHEMES: dict[str, type[Plain] | type[Sparse] | type[Linear] | type[Codebook] | type[Tied]] = {
    kind.name: kind for kind in (Plain, Sparse, Linear, Codebook, Tied)
}


def kept_whole(tensor: torch.Tensor) -> Plain | Sparse:
    """Bit for bit, whichever is shorter."""
    plain = Plain(tensor)
    return plain if plain.is_told else Sparse.of(tensor) or plain


__all__ = ["SCHEMES", "Codebook", "Kept", "Linear", "Plain", "Scheme", "Shape", "Sparse", "Tied", "kept_whole"]
