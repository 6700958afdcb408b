"""From a trained network to an artifact: the stages of a recipe in order, then blocks.

With pruning, shared values and coding this is Han, Mao and Dally, Deep Compression (2016), with context coding in
place of Huffman codes. Every choice is made on the validation split.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from torch import nn

from mdlake.artifact import artifact_bytes
from mdlake.models.bundle import Model
from mdlake.models.metrics import score_name
from mdlake.models.schemes import Kept
from mdlake.shrink.attempts import Attempt, told
from mdlake.shrink.candidates import Candidate, StageReport
from mdlake.shrink.layers import LayerReport, bits_of, explain_layers
from mdlake.shrink.prune import count_nonzero
from mdlake.shrink.stages import Data, Making
from mdlake.shrink.stages.making import restored

Watch = Callable[[str, list[dict[str, Any]]], None]


def compress(
    model: Model,
    attempts: Sequence[Attempt],
    data: Data,
    effort: str = "default",
    *,
    explain: bool = False,
    give_up: float = math.inf,
    watch: Watch | None = None,
) -> list[Candidate]:
    """Runs the stages of each attempt on a copy of the network; what attempts begin with alike is run once.

    An artifact holds exactly the network that was measured. The candidates are in the order of the attempts; those
    that after a stage are more than `give_up` below the floor end there, as one. With `explain` each tells of its
    layers: that measures the network once for each layer and stage. `watch` is given, after each epoch, the stages so
    far in words and the figures of all their epochs.
    """
    growing = _Growing(model, data, effort, explain, give_up, watch)
    found = {made.attempt: made for made in growing.candidates(Making(model), (), (), growing.first, attempts)}
    ends = [
        next(attempt[:stop] for stop in range(len(attempt), 0, -1) if attempt[:stop] in found) for attempt in attempts
    ]
    return [found[end] for end in dict.fromkeys(ends)]


@dataclass(frozen=True)
class _Growing:
    model: Model
    data: Data
    effort: str
    explain: bool
    give_up: float
    watch: Watch | None

    @cached_property
    def score(self) -> float:
        """Of the network before any stage."""
        return self.data.measure(self.model.module)

    @cached_property
    def first(self) -> tuple[LayerReport, ...]:
        """The layers before any stage."""
        return self._layers("dense", Making(self.model), self.model.module)

    def candidates(
        self,
        making: Making,
        done: Attempt,
        reports: tuple[StageReport, ...],
        layers: tuple[LayerReport, ...],
        attempts: Sequence[Attempt],
    ) -> Iterator[Candidate]:
        """Of all attempts, which begin with the stages `done`."""
        for stage in dict.fromkeys(attempt[len(done)] for attempt in attempts):
            branch, so_far = copy.deepcopy(making), (*done, stage)
            branch.watch = partial(self.watch, told(so_far)) if self.watch else None
            stage.run(branch, self.data)
            final, score = _restored(branch, so_far, self.data)
            whole = so_far in attempts
            given_up = not whole and score < self.data.floor - self.give_up
            encoded = artifact_bytes(final, branch.schemes, self.effort if whole else "fast")
            nonzero, bits = count_nonzero(final.module), _mean_bits(final, branch.schemes)
            so_far_told = (*reports, StageReport(str(stage), len(encoded), score, nonzero, bits))
            in_layers = (*layers, *self._layers(str(stage), branch, final.module))
            longer = [attempt for attempt in attempts if attempt[: len(so_far)] == so_far and attempt != so_far]
            if whole or given_up:
                told_so = so_far_told, branch.history, in_layers, whole
                yield Candidate(so_far, encoded, score, nonzero, bits, *told_so)
            if longer and not given_up:
                yield from self.candidates(branch, so_far, so_far_told, in_layers, longer)

    def _layers(self, stage: str, making: Making, module: nn.Module) -> tuple[LayerReport, ...]:
        if not self.explain:
            return ()
        return explain_layers(stage, module, making.schemes, self.model.module, self.score, self.data)


def _restored(making: Making, attempt: Attempt, data: Data) -> tuple[Model, float]:
    """The network exactly as an artifact holds it, and its score."""
    module = restored(making.module, making.schemes)
    model, score = making.model, data.measure(module)
    metrics = {**model.metrics, score_name(model.metrics).lower(): round(score, 6)}
    return replace(model, module=module, metrics=metrics, lineage={**model.lineage, "stages": told(attempt)}), score


def _mean_bits(model: Model, schemes: Mapping[str, Kept]) -> float:
    """Bits per weight before entropy coding."""
    total = bits = 0
    for name, parameter in model.module.named_parameters():
        total += parameter.numel()
        bits += bits_of(schemes.get(name), parameter) * parameter.numel()
    return bits / total if total else 0.0
