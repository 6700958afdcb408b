"""A few rows through a network before it is trained: what does not fit is told now, and in words."""

from __future__ import annotations

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError, located
from mdlake.models.batches import Batch, Source, first_rows
from mdlake.models.tasks import Task, logits_shape

_ROWS = 2


@torch.no_grad()
def try_network(name: str, network: nn.Module, source: Source) -> None:
    """Checks that the network takes what the inputs give and answers with logits; leaves it as it was.

    Raises:
        InvalidArgumentError: it does neither, or two names of its state are one tensor, which files do not keep.
    """
    with located(network=name):
        _refuse_shared(network)
        if batch := first_rows(source, _ROWS):
            training = network.training
            _check_logits(network.eval(), batch, source.task)
            network.train(training)


def _check_logits(network: nn.Module, batch: Batch, task: Task) -> None:
    shapes = ", ".join(f"{tensor.dtype} {list(tensor.shape)}".removeprefix("torch.") for tensor in batch.inputs)
    try:
        logits = network(*batch.inputs)
    except Exception as error:  # whatever a user's code raises
        raise InvalidArgumentError(
            f"it cannot take what the inputs give ({shapes}): {type(error).__name__}: {error}"
        ) from error
    rows = len(batch.labels)
    expected = logits_shape(task, rows)
    if not isinstance(logits, torch.Tensor) or logits.shape != expected:
        found = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise InvalidArgumentError(
            f"it answers {rows} rows with {found}, expected logits {list(expected)}: "
            f"{'one a row; squeeze the last axis' if task.outputs == 1 else f'one for each of {task.outputs} classes'}"
        )


def _refuse_shared(network: nn.Module) -> None:
    found: dict[int, str] = {}
    for name, tensor in network.state_dict().items():
        if not tensor.numel():
            continue
        first = found.setdefault(tensor.untyped_storage().data_ptr(), name)
        if first != name:
            raise InvalidArgumentError(
                f"{first} and {name} are one tensor, and would be two when the network is loaded: keep it in one place"
            )
