"""Knowledge distillation: a student learns from the teacher's soft labels beside the hard ones.

Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network (2015), section 2: the logits of both are
divided by a temperature, and the soft term is multiplied by its square, so that its gradients keep their size when
the temperature changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batch
from mdlake.models.tasks import Task


@dataclass(frozen=True)
class DistillOptions:
    """`soft` is the share of the soft term in the loss: 0 is training without a teacher."""

    temperature: float = 2.0
    soft: float = 0.7

    def __post_init__(self) -> None:
        if self.temperature <= 0 or not 0 <= self.soft <= 1:
            raise InvalidArgumentError("temperature must be positive, and soft a share from 0 to 1")


@dataclass(frozen=True)
class DistillLoss:
    """The loss for `models.training`: soft and hard labels mixed.

    The teacher's outputs are those stored beside the shards, or those of `teacher`, asked anew for each batch.
    """

    options: DistillOptions
    teacher: nn.Module | None = None

    def __call__(self, task: Task, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        scores = batch.scores
        if scores is None and self.teacher is not None:
            with torch.no_grad():
                scores = self.teacher(*batch.inputs)
        if scores is None:
            raise InvalidArgumentError("distillation needs the teacher's outputs: run score first")
        if scores.shape[1:] != logits.shape[1:] and task.outputs > 1:
            raise InvalidArgumentError(
                f"the teacher has {list(scores.shape[1:])} outputs a row, the student {list(logits.shape[1:])}: "
                f"both need one for each of the task's {task.outputs} classes"
            )
        soft = task.soft_loss(logits, scores, self.options.temperature)
        return self.options.soft * soft + (1 - self.options.soft) * task.loss(logits, batch.labels)


def gap_closed(teacher: float, alone: float, distilled: float) -> float | None:
    """The share of the way from the student alone to the teacher; None if the teacher is no better."""
    return (distilled - alone) / (teacher - alone) if teacher > alone else None
