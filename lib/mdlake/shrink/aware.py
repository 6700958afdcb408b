"""Quantisation-aware training: the forward pass sees few-bit weights, the optimizer moves the full ones.

Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference
(2018), with straight-through gradients (Bengio, Léonard and Courville, 2013): rounding counts as the
identity when gradients flow back. The scales follow the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn
from torch.func import functional_call

from mdlake.models.schemes import Kept
from mdlake.shrink.quantize import quantize_linear

_REFRESH_STEPS = 16  # scales are searched anew this often: weights move little in so few steps


class _Aware(nn.Module):
    """Answers as `network` would with each parameter as it is `seen`; trains the network it wraps."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        weights = {name: self.seen(name, weight) for name, weight in self.network.named_parameters()}
        return functional_call(self.network, weights, inputs)

    def seen(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class FakeQuantized(_Aware):
    """With each parameter of `bits` quantised to so many."""

    def __init__(self, network: nn.Module, bits: Mapping[str, int], granularity: str = "tensor") -> None:
        super().__init__(network)
        self._bits = dict(bits)
        self._granularity = granularity
        self._scales: dict[str, torch.Tensor] = {}
        self._steps = 0

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        if not self.training or self._steps % _REFRESH_STEPS == 0:
            self._refresh()
        self._steps += self.training
        return super().forward(*inputs)

    def seen(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        return straight_through(weight, self._scales[name], self._bits[name]) if name in self._bits else weight

    @torch.no_grad()
    def _refresh(self) -> None:
        for name, weight in self.network.named_parameters():
            if name in self._bits:
                scale = torch.from_numpy(quantize_linear(weight, self._bits[name], self._granularity).scale)
                shape = (-1, *[1] * (weight.dim() - 1)) if len(scale) > 1 else ()
                self._scales[name] = scale.reshape(shape).to(weight.device)


class RoundingAware(_Aware):
    """With the parameters of these names rounded."""

    def __init__(self, network: nn.Module, names: Iterable[str], rounder: Callable[[torch.Tensor], Kept]) -> None:
        super().__init__(network)
        self._names, self._rounder = set(names), rounder

    def seen(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        return weight + self._change(weight) if name in self._names else weight

    @torch.no_grad()
    def _change(self, weight: torch.Tensor) -> torch.Tensor:
        return self._rounder(weight).restore().to(weight) - weight


def straight_through(weight: torch.Tensor, scale: torch.Tensor, bits: int) -> torch.Tensor:
    """The quantised weight, whose gradient is that of the weight itself."""
    top = 2 ** (bits - 1) - 1
    quantized = torch.clamp(torch.round(weight / scale), -top, top) * scale
    return weight + (quantized - weight).detach()
