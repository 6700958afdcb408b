"""Quantising what flows between layers: scales fixed by calibration, or taken from each batch.

Jacob et al. (2018) for the formula, with a zero point, and for straight-through gradients in training.
Static ranges come from data seen before: all of it (min-max), all but a share of outliers (percentile), or
the range of least squared error (as in Nagel et al., A White Paper on Neural Network Quantization, 2021).
Dynamic ones are those of the batch at hand: nothing to calibrate, more to compute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batch, Batches, batches_of
from mdlake.shrink.curvature import evaluating
from mdlake.shrink.inputs import Layer, layers_in_order, layers_of

METHODS = ("minmax", "percentile", "error", "dynamic")
_BINS = 2048
_CLIPS = np.linspace(0.02, 1.0, 99)


@dataclass(frozen=True)
class ActivationOptions:
    """`method` is one of METHODS; `share` is that of values which "percentile" covers."""

    bits: int = 8
    method: str = "error"
    share: float = 0.9999

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 16:
            raise InvalidArgumentError(f"bits of activations are from 2 to 16, not {self.bits}")
        if self.method not in METHODS or not 0 < self.share <= 1:
            raise InvalidArgumentError(f"method is one of {METHODS}, and share from above 0 to 1")


class QuantizedInput(nn.Module):
    """Rounds its input to 2^bits levels between `low` and `high`, or between those of each batch.

    Gradients pass within the range and stop outside it.
    """

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, bits: int, low: float | None = None, high: float | None = None) -> None:
        super().__init__()
        self.bits = bits
        self.dynamic = low is None or high is None
        self.register_buffer("low", torch.tensor(min(low or 0.0, 0.0)))
        self.register_buffer("high", torch.tensor(max(high or 0.0, 0.0)))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        low, high = self.low, self.high
        if self.dynamic:
            seen = inputs.detach()
            low, high = seen.amin().clamp(max=0.0), seen.amax().clamp(min=0.0)
        return fake_quantize(inputs, low, high, self.bits)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, " + ("dynamic" if self.dynamic else f"{float(self.low):.4g}..{float(self.high):.4g}")


def fake_quantize(inputs: torch.Tensor, low: torch.Tensor, high: torch.Tensor, bits: int) -> torch.Tensor:
    """(round(x / scale + zero) - zero) * scale, clipped; the gradient is 1 inside the range, 0 outside."""
    scale = ((high - low) / (2**bits - 1)).clamp_min(torch.finfo(torch.float32).tiny)
    zero = torch.round(-low / scale)
    inside = torch.clamp(inputs, -zero * scale, (2**bits - 1 - zero) * scale)
    return inside + (torch.round(inside / scale) * scale - inside).detach()


def quantize_activations(network: nn.Module, batches: Batches, options: ActivationOptions) -> dict[str, QuantizedInput]:
    """Puts a `QuantizedInput` before every Linear and Conv2d, in place; returns them by weight name.

    Each is a submodule of its layer, `quantized_input`, and is saved and moved with it; training goes through it.
    `batches` is gone through twice, by "dynamic" not at all.
    """
    held = list(batches_of(batches))
    layers = layers_of(network) if options.method == "dynamic" else layers_in_order(network, held)
    if any(hasattr(layer, "quantized_input") for layer in layers.values()):
        raise InvalidArgumentError("the activations of this network are quantised already")
    ranges = {} if options.method == "dynamic" else _ranges(network, held, layers, options)
    found = {}
    for name, layer in layers.items():
        found[name] = QuantizedInput(options.bits, *ranges.get(name, (None, None)))
        layer.add_module("quantized_input", found[name])
        layer.register_forward_pre_hook(_quantize_first)
    return found


def _quantize_first(layer: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (layer.get_submodule("quantized_input")(args[0]), *args[1:])


def _ranges(
    network: nn.Module, batches: list[Batch], layers: dict[str, Layer], options: ActivationOptions
) -> dict[str, tuple[float, float]]:
    extremes: dict[str, tuple[float, float]] = {}
    counts: dict[str, np.ndarray] = {}

    def widen(name: str, values: torch.Tensor) -> None:
        low, high = extremes.get(name, (0.0, 0.0))
        extremes[name] = (min(low, float(values.min())), max(high, float(values.max())))

    def count(name: str, values: torch.Tensor) -> None:
        found = np.histogram(values.cpu().double().numpy(), _BINS, _wide(extremes[name]))[0]
        counts[name] = counts.get(name, 0) + found

    _watch(network, batches, layers, widen)
    if options.method == "minmax":
        return extremes
    _watch(network, batches, layers, count)
    narrow = _of_share if options.method == "percentile" else _of_least_error
    return {name: narrow(counts[name], extremes[name], options) for name in layers}


@torch.no_grad()
def _watch(
    network: nn.Module, batches: list[Batch], layers: dict[str, Layer], see: Callable[[str, torch.Tensor], None]
) -> None:
    def watch(name: str, layer: Layer) -> torch.utils.hooks.RemovableHandle:
        return layer.register_forward_pre_hook(lambda module, args: see(name, args[0]))

    handles = [watch(name, layer) for name, layer in layers.items()]
    try:
        with evaluating(network):
            for batch in batches_of(batches):
                network(*batch.inputs)
    finally:
        for handle in handles:
            handle.remove()


def _of_share(counts: np.ndarray, extremes: tuple[float, float], options: ActivationOptions) -> tuple[float, float]:
    """The range without the share of outliers, half of it at each end."""
    low, high = _wide(extremes)
    edges, below = np.linspace(low, high, _BINS + 1), np.concatenate([[0], np.cumsum(counts)]) / max(1, counts.sum())
    cut = (1 - options.share) / 2
    first = int(np.searchsorted(below, cut, side="right")) - 1
    last = int(np.searchsorted(below, 1 - cut, side="left"))
    return float(edges[first]), float(edges[min(last, _BINS)])


def _of_least_error(
    counts: np.ndarray, extremes: tuple[float, float], options: ActivationOptions
) -> tuple[float, float]:
    low, high = _wide(extremes)
    middles = (np.arange(_BINS) + 0.5) * (high - low) / _BINS + low

    def error(clip: float) -> float:
        scale = clip * (high - low) / (2**options.bits - 1)
        zero = np.rint(-clip * low / scale)
        levels = np.clip(np.rint(middles / scale) + zero, 0, 2**options.bits - 1)
        return float(counts @ np.square((levels - zero) * scale - middles))

    best = min(_CLIPS, key=lambda clip: (error(clip), -clip))
    return low * best, high * best


def _wide(extremes: tuple[float, float]) -> tuple[float, float]:
    low, high = extremes
    return (low, high) if high > low else (low, low + 1e-6)
