"""How long a network takes for some rows, on one thread of this machine's processor."""

from __future__ import annotations

import time
from statistics import median

import torch
from torch import nn

_WARM_UP, _LEAST, _MOST = 3, 11, 101
_SECONDS = 0.5


@torch.no_grad()
def latency(network: nn.Module, inputs: tuple[torch.Tensor, ...]) -> float:
    """The median wall time of a forward pass of these rows, in seconds: of 11 passes or, if quick, up to 101.

    What makes tensors of a table is not in it.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(_WARM_UP):
            network(*inputs)
        times, begun = list[float](), time.perf_counter()
        while len(times) < _LEAST or (len(times) < _MOST and time.perf_counter() - begun < _SECONDS):
            start = time.perf_counter()
            network(*inputs)
            times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return median(times)
