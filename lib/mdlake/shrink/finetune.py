"""Training under a mask: after every step the pruned weights are set back to zero.

The second half of Han, Pool, Tran and Dally (2015): what is left learns to do without the rest.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial

from torch import nn

from mdlake.models.batches import Source
from mdlake.models.training import Loss, Trainer, TrainingOptions
from mdlake.shrink.prune import Masks, apply_masks


@dataclass(frozen=True)
class FineTuned:
    """The network of the best epoch by AUC on the validation split, and the figures of every epoch."""

    network: nn.Module
    history: list[dict]


def fine_tune(
    network: nn.Module, masks: Masks, train: Source, validation: Source, options: TrainingOptions, loss: Loss
) -> FineTuned:
    """Trains `network` in place under `masks`; epoch 0, before any step, competes too."""
    apply_masks(network, masks)
    hold = partial(_hold, masks)
    trainer = Trainer(network, train, validation, options, loss, after_step=hold)
    best, best_auc = copy.deepcopy(network.state_dict()), trainer.measure().auc or 0.0
    for progress in trainer.run():
        auc = progress.history[-1]["auc"] or 0.0
        if auc > best_auc:
            best, best_auc = copy.deepcopy(network.state_dict()), auc
    network.load_state_dict(best)
    return FineTuned(network.eval(), trainer.progress.history)


def _hold(masks: Masks, network: nn.Module) -> None:
    apply_masks(network, masks)
