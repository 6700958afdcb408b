"""A network whose parameters, gradients and optimizer state are spread over the workers: for what does not fit one.

Each worker keeps a part of every tensor; a group of layers is whole only while it is computed (Rajbhandari et al.,
ZeRO, 2020, stage 3; Zhao et al., PyTorch FSDP, 2023), by torch's `fully_shard`. A group is a module with `GROUP`
parameters or more that are in no smaller group; what is left over is the network's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.distributed
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batch, Share, Source, first_rows, ordered_batches

GROUP = 1 << 20
_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)  # without a forward pass
_WHOLE = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)  # read their parts' weights


def shard(network: nn.Module, device: torch.device) -> None:
    """Spreads the network, changed in place, over the workers of the process group; all begin as the first one's.

    The network is moved to `device` a group at a time, so that it need not fit there; it is made in the worker's own
    memory.

    Raises:
        InvalidArgumentError: it has a parameter that cannot be spread.
    """
    for name, parameter in network.named_parameters():
        if not parameter.dim():
            raise InvalidArgumentError(f"the parameter {name} is one number, which cannot be sharded: make it [1]")
    for tensor in (*network.parameters(), *network.buffers()):
        _take_first(tensor.data, device)
    if device.index is not None and device.type == "cuda":
        torch.cuda.set_device(device)  # where fully_shard puts the parts
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for module in _groups(network):
        fully_shard(module, mesh=mesh)
    fully_shard(network, mesh=mesh)


def share_buffers(network: nn.Module) -> None:
    """All workers take the first one's buffers (running means): those that are kept, and so those to measure."""
    for buffer in network.buffers():
        torch.distributed.broadcast(buffer, 0)


def gathered(tensors: Mapping[str, torch.Tensor], keep: bool) -> dict[str, torch.Tensor]:
    """The whole tensors, on the CPU, one after the other. All workers call it; those that do not `keep` get none."""
    found = {}
    for name in sorted(tensors):  # in one order on all workers, which the file they went on from does not give
        tensor = tensors[name]
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if keep:
            found[name] = whole.cpu()
    return found


def placed(tensor: torch.Tensor, like: torch.Tensor | None) -> torch.Tensor:
    """A whole tensor, which every worker has, where it has the shape of `like` spread as that is, in its strides."""
    if like is None or tensor.shape != like.shape:
        return tensor
    if not isinstance(like, DTensor):
        return torch.empty_like(like, dtype=tensor.dtype, device=tensor.device).copy_(tensor)
    mesh = like.device_mesh
    return distribute_tensor(tensor.to(mesh.device_type), mesh, like.placements, src_data_rank=None)


@dataclass
class InStep:
    """A source's batches in order, as many for each worker, since none computes alone: its own, then `spare` rows."""

    source: Source
    share: Share
    spare: int = 0

    def __iter__(self) -> Iterator[Batch]:
        left = -(-len(self.source.shards.units(self.share.world)) // self.share.world)
        for batch in ordered_batches(self.source, self.share):
            left -= 1
            yield batch
        row = first_rows(self.source, 1) if left else None
        if row is not None:  # else no row has a label, and no worker anything to do
            self.spare = left
            yield from [row] * left


def _groups(module: nn.Module) -> list[nn.Module]:
    """Modules below this one that are groups, inner ones first."""
    found: list[nn.Module] = []

    def visit(module: nn.Module) -> int:
        left = sum(parameter.numel() for parameter in module.parameters(recurse=isinstance(module, _WHOLE)))
        if not isinstance(module, _WHOLE):
            left += sum(visit(child) for child in module.children())
        if left < GROUP or isinstance(module, _CONTAINERS):
            return left
        found.append(module)
        return 0

    for child in module.children():
        visit(child)
    return found


def _take_first(tensor: torch.Tensor, device: torch.device) -> None:
    moved = tensor.to(device)
    torch.distributed.broadcast(moved, 0)
    tensor.copy_(moved)
