"""The steps from a trained network to an artifact, in order: prune, fine-tune, quantise, encode.

The scheme is that of Han, Mao and Dally, Deep Compression (2016), with linear quantisation in place of a
codebook and the block codec in place of Huffman codes. Every choice is made on the validation split.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import nn

from mdlake.artifact import artifact_bytes
from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Source, ordered_batches
from mdlake.models.bundle import Model
from mdlake.models.metrics import score_name
from mdlake.models.training import Loss, TrainingOptions, predict
from mdlake.shrink.finetune import fine_tune
from mdlake.shrink.prune import PruneOptions, count_nonzero, magnitude_masks, prunable
from mdlake.shrink.quantize import Quantized, QuantizeOptions, Weights, search_bits, uniform_bits


@dataclass(frozen=True)
class CompressOptions:
    """Candidates are all pairs of `sparsities` and `quantize.bits`; all steps may cost `max_drop` of the score (AUC or accuracy).

    `effort` is the block codec's: "max" saves about 2 % of a small network, and takes a minute to get ready.
    """

    sparsities: tuple[float, ...] = (0.3, 0.5, 0.7)
    scope: str = "global"
    max_drop: float = 0.002
    effort: str = "default"
    training: TrainingOptions = field(default_factory=TrainingOptions)
    quantize: QuantizeOptions = field(default_factory=QuantizeOptions)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sparsities", tuple(self.sparsities))
        if not self.sparsities:
            raise InvalidArgumentError("at least one sparsity is needed")


@dataclass(frozen=True)
class Attempt:
    """One way to compress: the share of weights to prune, and the bits that fine-tuning prepares for."""

    sparsity: float
    bits: int


@dataclass(frozen=True)
class Candidate:
    """What came of an attempt: the artifact, and the score on the validation split of exactly that artifact.

    `pruned_score` and `pruned_bytes` are those of the pruned and fine-tuned network, before it is quantised.
    """

    attempt: Attempt
    data: bytes
    score: float
    nonzero: int
    bits: float
    pruned_score: float
    pruned_bytes: int
    history: list[dict[str, Any]]


def attempts(options: CompressOptions) -> list[Attempt]:
    """All pairs of sparsity and bits."""
    return [Attempt(sparsity, bits) for sparsity in options.sparsities for bits in options.quantize.bits]


def compress(
    model: Model,
    attempt: Attempt,
    train: Source,
    validation: Source,
    options: CompressOptions,
    loss: Loss,
    floor: float,
) -> Candidate:
    """Prunes, fine-tunes, fine-tunes for few bits, and takes more bits away while the score stays at `floor` or above."""
    network, granularity = copy.deepcopy(model.module), options.quantize.granularity
    masks = magnitude_masks(prunable(network), PruneOptions(attempt.sparsity, options.scope))
    held = list(ordered_batches(validation))

    def measure(weights: Weights) -> float:
        probe = copy.deepcopy(network)
        probe.load_state_dict(dict(weights))
        logits, labels = predict(probe, iter(held))
        return validation.task.measure(logits, labels).score

    tuned = fine_tune(network, masks, train, validation, options.training, loss)
    pruned_score = measure(network.state_dict())
    pruned_bytes = len(artifact_bytes(replace(model, module=network), effort=options.effort))
    bits = uniform_bits(network.state_dict(), attempt.bits)
    aware = fine_tune(network, masks, train, validation, options.training, loss, bits, granularity)
    weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
    quantized = search_bits(weights, measure, floor, attempt.bits, granularity)
    final = _quantized_model(model, network, quantized, attempt)
    return Candidate(
        attempt=attempt,
        data=artifact_bytes(final, quantized.schemes, options.effort),
        score=quantized.score,
        nonzero=count_nonzero(final.module),
        bits=_mean_bits(weights, quantized.bits),
        pruned_score=pruned_score,
        pruned_bytes=pruned_bytes,
        history=[*tuned.history, *_continued(aware.history, tuned.history[-1])],
    )


def choose(candidates: Sequence[Candidate], floor: float) -> Candidate:
    """The smallest artifact within the budget; an error with the best that was reached if there is none."""
    fitting = [candidate for candidate in candidates if candidate.score >= floor]
    if not fitting:
        best = max(candidates, key=lambda candidate: candidate.score)
        raise InvalidArgumentError(
            f"no candidate keeps a score of {floor:.4f} on the validation split; the best was {best.score:.4f} "
            f"with {best.attempt.bits} bits at sparsity {best.attempt.sparsity}: raise max_drop, or allow "
            "more bits or lower sparsities"
        )
    return min(fitting, key=lambda candidate: (len(candidate.data), -candidate.score))


def _quantized_model(model: Model, network: nn.Module, quantized: Quantized, attempt: Attempt) -> Model:
    module = copy.deepcopy(network)
    module.load_state_dict({name: scheme.restore() for name, scheme in quantized.schemes.items()})
    metrics = {**model.metrics, score_name(model.metrics).lower(): round(quantized.score, 6)}
    return replace(model, module=module, metrics=metrics, lineage={**model.lineage, "sparsity": attempt.sparsity})


def _continued(history: list[dict[str, Any]], last: dict[str, Any]) -> list[dict[str, Any]]:
    """The figures of a second training, with epochs, steps and seconds counted on from the first."""
    return [{**row, **{key: row[key] + last[key] for key in ("epoch", "step", "seconds")}} for row in history]


def _mean_bits(weights: Weights, bits: dict[str, int]) -> float:
    """Bits per weight before entropy coding."""
    sizes = np.array([weights[name].numel() for name in bits])
    return float(np.average(list(bits.values()), weights=sizes))
