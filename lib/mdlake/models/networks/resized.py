"""A network whose layers were cut or taken apart: its architecture as it is made, its widths by shapes.

Layers keep their places and what they do. A Linear, Conv2d or BatchNorm takes the widths of its tensors; one whose
place has tensors `0.weight` and `1.weight` becomes the two layers that `mdlake.shrink.factorize` puts there.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError

Shapes = Mapping[str, tuple[int, ...]]


def resize(network: nn.Module, shapes: Shapes) -> nn.Module:
    """The network, changed in place, with parameters and buffers of these shapes; the changed ones are on "meta".

    What does not fit is left as it is: whoever puts the tensors in says so.
    """
    for path, module in list(network.named_modules()):
        first, second = (shapes.get(f"{path}.{place}.weight") for place in (0, 1))
        if first and second and isinstance(module, nn.Linear | nn.Conv2d):
            _put(network, path, _pair(module, first, second, f"{path}.1.bias" in shapes))
    for path, module in network.named_modules():
        shape = shapes.get(f"{path}.weight" if path else "weight")
        if shape and len(shape) == getattr(module, "weight", torch.empty(0)).dim():
            _widen(module, shape)
    return network


def _widen(module: nn.Module, shape: tuple[int, ...]) -> None:
    """Gives a layer the widths of its weight."""
    match module:
        case nn.Linear():
            module.out_features, module.in_features = shape
        case nn.Conv2d():
            if shape[2:] != module.kernel_size or (module.groups > 1 and shape[1] != 1):
                return
            module.out_channels = shape[0]
            module.groups = shape[0] if module.groups > 1 else 1
            module.in_channels = shape[1] * module.groups
        case nn.modules.batchnorm._BatchNorm():
            module.num_features = shape[0]
            for name in ("running_mean", "running_var"):
                if getattr(module, name) is not None:
                    setattr(module, name, torch.empty(shape[0], device="meta"))
        case _:
            return
    for name, size in (("weight", shape), ("bias", shape[:1])):
        if getattr(module, name) is not None:
            setattr(module, name, nn.Parameter(torch.empty(size, device="meta")))


def _pair(layer: nn.Linear | nn.Conv2d, first: tuple[int, ...], second: tuple[int, ...], bias: bool) -> nn.Sequential:
    """Two layers in place of one; of a convolution, the second does along an axis what the first does not."""
    rank = first[0]
    with torch.device("meta"):
        if isinstance(layer, nn.Linear):
            if len(first) != 2 or len(second) != 2:
                raise InvalidArgumentError(f"a Linear cannot be taken apart into {list(first)} and {list(second)}")
            return nn.Sequential(nn.Linear(first[1], rank, bias=False), nn.Linear(rank, second[0], bias=bias))
        if len(first) != 4 or len(second) != 4:
            raise InvalidArgumentError(f"a Conv2d cannot be taken apart into {list(first)} and {list(second)}")
        axes = tuple(axis for axis in (0, 1) if first[2 + axis] == layer.kernel_size[axis])
        others = tuple(axis for axis in (0, 1) if axis not in axes)
        return nn.Sequential(
            convolution_along(layer, first[1], rank, axes, bias=False),
            convolution_along(layer, rank, second[0], others, bias=bias),
        )


def convolution_along(layer: nn.Conv2d, inputs: int, outputs: int, axes: tuple[int, ...], bias: bool) -> nn.Conv2d:
    """A convolution of these widths that does along `axes` what `layer` does, and nothing along the others."""
    kept: dict[str, tuple[int, ...]] = {}
    for name, nothing in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
        values = getattr(layer, name)
        kept[name] = tuple(values[axis] if axis in axes else nothing for axis in (0, 1))
    return nn.Conv2d(inputs, outputs, bias=bias, **kept)  # type: ignore[arg-type]


def _put(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, child = path.rpartition(".")
    setattr(network.get_submodule(parent), child, module)
