"""Layers that are small in memory too, where torch has kernels for them: sparse and int8, for the CPU.

An artifact loads to dense layers; `compact` puts these in their place. Only Linear has such kernels: convolutions stay.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from mdlake.errors import InvalidArgumentError
from mdlake.models import schemes
from mdlake.models.schemes import Kept

_MOST = 127  # of 8 bits, symmetric
SPARSEST = 0.2
"""The share of weights that are not zero above which a dense product is faster than a sparse one."""


class SparseLinear(nn.Module):
    """A Linear whose weight is kept as compressed rows (CSR): its numbers exactly, sums in another order.

    float32 [..., inputs] -> float32 [..., outputs].
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", layer.weight.detach().to_sparse_csr())
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return functional.linear(inputs.flatten(0, -2), self.weight, self.bias).unflatten(0, inputs.shape[:-1])  # type: ignore[arg-type]


class Int8Linear(nn.Module):
    """A Linear of int8 levels, exactly those of the artifact; each row of inputs is rounded to 8 bits by its largest.

    float32 [..., inputs] -> float32 [..., outputs], a fraction of a percent off: a loss that was asked for. The product
    is of integers (`torch._int_mm`), so nothing else is lost.
    """

    levels: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, kept: schemes.Linear, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.register_buffer("levels", torch.from_numpy(kept.levels))
        self.register_buffer("scale", torch.from_numpy(kept.scale))
        self.register_buffer("bias", bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        rows = inputs.flatten(0, -2)
        step = rows.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / _MOST
        rounded, levels = (rows / step).round().to(torch.int8), self.levels
        if rounded.shape[1] == 1:  # of such the kernel gives what lay in memory
            rounded, levels = functional.pad(rounded, (0, 1)), functional.pad(levels, (0, 1))
        sums = torch._int_mm(rounded, levels.t())  # type: ignore[operator]
        found = sums * step * self.scale
        return (found if self.bias is None else found + self.bias).unflatten(0, inputs.shape[:-1])


def compact(module: nn.Module, kept: Mapping[str, Kept], form: str) -> nn.Module:
    """The network with every layer that can be in this form; changed in place, for evaluation only.

    Args:
        kept: how the artifact keeps each tensor.
        form: "sparse" for Linear layers with at most a fifth of their weights, "int8" for those kept as levels.

    Raises:
        InvalidArgumentError: another form, or no layer can be in this one.
    """
    if form not in ("sparse", "int8"):
        raise InvalidArgumentError(f"layers are kept sparse or as int8, not {form!r}")
    found = {
        path: made
        for path, layer in module.named_modules()
        if type(layer) is nn.Linear and (made := _made(layer, kept.get(f"{path}.weight"), form))
    }
    if not found:
        wanted = "has few enough weights that are not zero" if form == "sparse" else "is kept as integers and a scale"
        raise InvalidArgumentError(f"no Linear layer of this network {wanted}: load it dense")
    for path, layer in found.items():
        parent, _, child = path.rpartition(".")
        setattr(module.get_submodule(parent), child, layer)
    return module.eval()


def _made(layer: nn.Linear, kept: Kept | None, form: str) -> nn.Module | None:
    if form == "int8":
        bias = None if layer.bias is None else layer.bias.detach()
        return Int8Linear(kept, bias) if isinstance(kept, schemes.Linear) else None
    few = int(torch.count_nonzero(layer.weight)) <= SPARSEST * layer.weight.numel()
    return SparseLinear(layer) if few else None
