"""Distilling: a student learns from a teacher, by what it answers, by what its inner layers see, or without data.

logits               losses of what both answer: soft labels, one soft logit, hard labels, decoupled
features             losses of what inner layers see: hints, attention, relations
loss                 the loss of a training, as a recipe's options have it
watched              inner layers of both networks, caught and compared while training
data_free            a student and a generator of images against each other
data_free_training   the same in epochs, with checkpoints
"""

from mdlake.shrink.distill.data_free import DataFreeOptions, distill_without_data
from mdlake.shrink.distill.features import HintLoss, attention_loss, relational_loss, watch_features
from mdlake.shrink.distill.logits import decoupled_loss, hard_label_loss, soft_label_loss, soft_logit_loss

__all__ = [
    "DataFreeOptions",
    "HintLoss",
    "attention_loss",
    "decoupled_loss",
    "distill_without_data",
    "hard_label_loss",
    "relational_loss",
    "soft_label_loss",
    "soft_logit_loss",
    "watch_features",
]
