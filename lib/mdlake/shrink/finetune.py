"""Training under a mask: after every step the pruned weights are set back to zero.

The second half of Han, Pool, Tran and Dally (2015): what is left learns to do without the rest.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from mdlake.models.batches import Source
from mdlake.models.metrics import score_of
from mdlake.models.training import Loss, Trainer, TrainingOptions
from mdlake.shrink.aware import FakeQuantized
from mdlake.shrink.prune import Masks, apply_masks


@dataclass(frozen=True)
class FineTuned:
    """The network of the best epoch by score on the validation split, and the figures of every epoch."""

    network: nn.Module
    history: list[dict]


def fine_tune(
    network: nn.Module,
    masks: Masks,
    train: Source,
    validation: Source,
    options: TrainingOptions,
    loss: Loss,
    bits: Mapping[str, int] | None = None,
    granularity: str = "tensor",
) -> FineTuned:
    """Trains `network` in place under `masks`; epoch 0, before any step, competes too.

    With `bits`, it is trained and measured as it will be when its parameters are quantised to so many.
    """
    apply_masks(network, masks)
    seen = FakeQuantized(network, bits, granularity) if bits else network
    trainer = Trainer(seen, train, validation, options, loss, after_step=lambda _: apply_masks(network, masks))
    best, best_score = copy.deepcopy(network.state_dict()), trainer.measure().score
    for progress in trainer.run():
        score = score_of(progress.history[-1])
        if score > best_score:
            best, best_score = copy.deepcopy(network.state_dict()), score
    network.load_state_dict(best)
    return FineTuned(network.eval(), trainer.progress.history)
