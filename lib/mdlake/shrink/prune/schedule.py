"""Pruning while training: how much is gone when, and whether what went may come back.

The cubic ramp is from Zhu and Gupta, To prune, or not to prune (2017). Soft masks follow Guo, Yao and Chen,
Dynamic Network Surgery (2016), and Lin et al., Dynamic Model Pruning with Feedback (2020): the forward pass
sees the pruned network, the optimizer's steps reach pruned weights too, and the mask is taken anew every
so many steps, so that a weight which turns out to be needed comes back.

Both kinds of masks are hooks for a training loop: `before_step(network)` before the forward pass,
`after_step(network)` after the optimizer's step. Between the two calls, and whenever it is measured or
saved, the network is the pruned one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.shrink.prune.magnitude import magnitude_scores
from mdlake.shrink.prune.masks import Masks, Scores, apply_masks, check_sparsity, prunable, top_masks

Scorer = Callable[[Mapping[str, torch.Tensor]], Scores]


class Ramp(Protocol):
    """The sparsity to have at a step, and in the end."""

    @property
    def last(self) -> float: ...

    def at(self, step: int) -> float: ...


@dataclass(frozen=True)
class _Span:
    """From `first` to `last` within `steps` steps."""

    last: float
    steps: int
    first: float = 0.0

    def __post_init__(self) -> None:
        check_sparsity(self.first)
        check_sparsity(self.last)
        if self.steps < 1:
            raise InvalidArgumentError(f"a ramp takes 1 step or more, not {self.steps}")

    def _left(self, step: int) -> float:
        """The share of the way that is still to go."""
        return 1 - min(step / self.steps, 1.0)


class CubicRamp(_Span):
    """From `first` to `last` within `steps` steps: fast while there is much to take, slow towards the end."""

    def at(self, step: int) -> float:
        return self.last + (self.first - self.last) * self._left(step) ** 3


class GeometricRamp(_Span):
    """The share that is left shrinks by a factor that eases off: for the last percents, where a cubic is steep."""

    def at(self, step: int) -> float:
        left = self._left(step)
        return 1 - (1 - self.first) * ((1 - self.last) / (1 - self.first)) ** (1 - left**2)


class SoftMasks:
    """Masks taken anew every `every` steps, by `score` over all layers (or each, with `scope` "layer").

    What a pruned weight would be is kept here, not in the network; the optimizer's steps are added to it.
    Weight decay does not reach it.
    """

    def __init__(
        self,
        ramp: Ramp,
        score: Scorer = magnitude_scores,
        every: int = 32,
        scope: str = "global",
        step: int = 0,
        biases: bool = False,
    ) -> None:
        if every < 1:
            raise InvalidArgumentError(f"masks are taken every 1 step or more, not {every}")
        self.masks: Masks = {}
        self.hidden: dict[str, torch.Tensor] = {}
        self._ramp, self._score, self._every, self._scope = ramp, score, every, scope
        self._step, self._biases = step, biases

    def before_step(self, network: nn.Module) -> None:
        if self._step % self._every == 0 or not self.masks:
            self.take(network, self._ramp.at(self._step))
        self._step += 1

    @torch.no_grad()
    def after_step(self, network: nn.Module) -> None:
        for name, weight in prunable(network, self._biases).items():
            gone = ~self.masks[name]
            self.hidden[name] += weight * gone
            weight.masked_fill_(gone, 0.0)

    @torch.no_grad()
    def take(self, network: nn.Module, sparsity: float) -> None:
        """Takes the masks of that sparsity now."""
        weights = prunable(network, self._biases)
        whole = {name: weight + self.hidden.get(name, 0.0) for name, weight in weights.items()}
        self.masks = top_masks(self._score(whole), sparsity, self._scope)
        self.hidden = {name: weight * ~self.masks[name] for name, weight in whole.items()}
        for name, weight in weights.items():
            weight.copy_(whole[name] * self.masks[name])

    def finish(self, network: nn.Module) -> HardMasks:
        """Takes the last masks at the ramp's end; from here on they stay."""
        self.take(network, self._ramp.last)
        return HardMasks(self.masks)


@dataclass(frozen=True)
class HardMasks:
    """What is pruned stays so through any training. Dense gradients may reach it: it is set back every step."""

    masks: Masks

    def before_step(self, network: nn.Module) -> None:
        apply_masks(network, self.masks)

    def after_step(self, network: nn.Module) -> None:
        apply_masks(network, self.masks)
