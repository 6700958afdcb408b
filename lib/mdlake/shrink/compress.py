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

from mdlake.artifact import artifact_bytes
from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Source, ordered_batches
from mdlake.models.bundle import Model
from mdlake.models.training import Loss, TrainingOptions, predict
from mdlake.shrink.finetune import fine_tune
from mdlake.shrink.prune import PruneOptions, count_nonzero, magnitude_masks, prunable
from mdlake.shrink.quantize import Quantized, QuantizeOptions, Weights, search_bits


@dataclass(frozen=True)
class CompressOptions:
    """The `sparsities` are candidates; `max_drop` is how much AUC all steps together may cost.

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
class Candidate:
    """One way to compress, and what came of it; `data` is None where the budget could not be met."""

    sparsity: float
    data: bytes | None
    pruned_auc: float
    pruned_bytes: int
    auc: float
    nonzero: int
    bits: float
    history: list[dict[str, Any]]


def compress(
    model: Model,
    sparsity: float,
    train: Source,
    validation: Source,
    options: CompressOptions,
    loss: Loss,
    floor: float,
) -> Candidate:
    """Prunes to `sparsity`, fine-tunes, and quantises as far as AUC stays at `floor` or above."""
    network = copy.deepcopy(model.module)
    masks = magnitude_masks(prunable(network), PruneOptions(sparsity, options.scope))
    tuned = fine_tune(network, masks, train, validation, options.training, loss)
    held = list(ordered_batches(validation))

    def measure(weights: Weights) -> float:
        probe = copy.deepcopy(network)
        probe.load_state_dict(dict(weights))
        logits, labels = predict(probe, iter(held))
        return validation.task.measure(logits, labels).auc or 0.0

    weights = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    pruned = replace(model, module=network)
    pruned_auc, pruned_bytes = measure(weights), len(artifact_bytes(pruned, effort="default"))
    try:
        quantized = search_bits(weights, measure, floor, options.quantize)
    except InvalidArgumentError:
        return Candidate(
            sparsity, None, pruned_auc, pruned_bytes, pruned_auc, count_nonzero(network), 32.0, tuned.history
        )
    final = _quantized_model(pruned, quantized, sparsity)
    return Candidate(
        sparsity,
        artifact_bytes(final, quantized.schemes, options.effort),
        pruned_auc,
        pruned_bytes,
        quantized.auc,
        count_nonzero(final.module),
        _mean_bits(weights, quantized.bits),
        tuned.history,
    )


def choose(candidates: Sequence[Candidate], floor: float) -> Candidate:
    """The smallest artifact within the budget; an error with the best that was reached if there is none."""
    fitting = [candidate for candidate in candidates if candidate.data is not None]
    if not fitting:
        best = max(candidates, key=lambda candidate: candidate.auc)
        raise InvalidArgumentError(
            f"no candidate keeps an AUC of {floor:.4f} on the validation split; the best was {best.auc:.4f} "
            f"at sparsity {best.sparsity}: raise max_drop or lower the sparsities"
        )
    return min(fitting, key=lambda candidate: (len(candidate.data or b""), -candidate.auc))


def _quantized_model(model: Model, quantized: Quantized, sparsity: float) -> Model:
    network = copy.deepcopy(model.module)
    network.load_state_dict({name: scheme.restore() for name, scheme in quantized.schemes.items()})
    metrics = {**model.metrics, "auc": round(quantized.auc, 6)}
    lineage = {**model.lineage, "sparsity": sparsity}
    return replace(model, module=network, metrics=metrics, lineage=lineage)


def _mean_bits(weights: Weights, bits: dict[str, int]) -> float:
    sizes = np.array([weights[name].numel() for name in bits])
    return float(np.average(list(bits.values()), weights=sizes))
