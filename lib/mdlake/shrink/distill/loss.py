"""Knowledge distillation: a student learns from the teacher's soft labels beside the hard ones.

Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network (2015), section 2: the logits of both are
divided by a temperature, and the soft term is multiplied by its square, so that its gradients keep their size when
the temperature changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batch, Source, first_rows
from mdlake.models.scores import whole_scores
from mdlake.models.scoring import Loader
from mdlake.models.tasks import Task
from mdlake.shrink.distill.logits import decoupled_loss, hard_label_loss, soft_label_loss, soft_logit_loss
from mdlake.shrink.distill.watched import FeatureOptions, WatchedPairs

_KINDS = ("soft", "hard", "decoupled")


@dataclass(frozen=True)
class DistillOptions:
    """`soft` is the share of the soft term in the loss: 0 is training without a teacher.

    kind: "soft" labels, "hard" ones (the class that the teacher decides for), or "decoupled": see
    `mdlake.shrink.distill.logits`. The last has the weights `target` and `others` of its two parts. asked: the teacher
    is asked anew for each batch, which images that are augmented need; else its scores are read beside the shards.
    features: what inner layers see is compared as well; only while a student is trained whole.
    """

    temperature: float = 2.0
    soft: float = 0.7
    kind: str = "soft"
    target: float = 1.0
    others: float = 8.0
    asked: bool = False
    features: FeatureOptions | None = None

    def __post_init__(self) -> None:
        if isinstance(self.features, Mapping):  # as recipes have it
            object.__setattr__(self, "features", FeatureOptions(**self.features))
        if not isinstance(self.features, FeatureOptions | None):
            raise InvalidArgumentError(f"features are a table of kind, pairs and weight, not {self.features!r}")
        if self.features and not self.asked:
            raise InvalidArgumentError("features are those of a teacher that is asked: set asked = true")
        if self.kind not in _KINDS:
            raise InvalidArgumentError(f"a kind of distillation is one of {', '.join(_KINDS)}, not {self.kind!r}")
        if not 0 < self.temperature < math.inf or not 0 <= self.soft <= 1:
            raise InvalidArgumentError("temperature must be positive, and soft a share from 0 to 1")


@dataclass(frozen=True)
class DistillLoss:
    """The loss for `models.training`: soft and hard labels mixed.

    The teacher's outputs are those stored beside the shards, or those of `teacher`, asked anew for each batch; it
    answers in bfloat16. Given as a `Loader` it is loaded where it is first asked.
    """

    options: DistillOptions
    teacher: nn.Module | Loader | None = None
    _pairs: list[WatchedPairs] = field(default_factory=list, init=False, compare=False, repr=False)  # watched, if any

    def __call__(self, task: Task, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        if not self.options.soft and not self._pairs:
            return task.loss(logits, batch.labels)
        scores = None if batch.scores is None else whole_scores(batch.scores, task.outputs)
        if scores is None and self._asked is not None:
            scores = ask(self._asked, batch)
        if scores is None:
            raise InvalidArgumentError("distillation needs the teacher's outputs: run score first")
        if scores.shape[1:] != logits.shape[1:] and task.outputs > 1:
            raise InvalidArgumentError(
                f"the teacher has {list(scores.shape[1:])} outputs a row, the student {list(logits.shape[1:])}: "
                f"both need one for each of the task's {task.outputs} classes"
            )
        soft = self.options.soft
        loss = soft * self._taught(task, logits, scores, batch.labels) + (1 - soft) * task.loss(logits, batch.labels)
        return loss + self._pairs[0].loss() if self._pairs else loss

    def attach(self, network: nn.Module, rows: Source) -> None:
        """Called with the student before it is trained."""
        if self.options.features and self._asked is not None and (few := first_rows(rows, 2)):
            self._pairs[:] = [WatchedPairs(self.options.features, network, self._asked, few)]

    def detach(self) -> None:
        """Called when it is trained: nothing is watched any more."""
        for pairs in self._pairs:
            pairs.close()
        self._pairs.clear()

    @cached_property
    def _asked(self) -> nn.Module | None:
        return self.teacher().module if isinstance(self.teacher, Loader) else self.teacher

    def _taught(self, task: Task, logits: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        options = self.options
        if options.kind == "soft":
            return (soft_logit_loss if task.outputs == 1 else soft_label_loss)(logits, scores, options.temperature)
        if task.outputs == 1:
            raise InvalidArgumentError(f"{options.kind!r} labels are those of classes; for one output use soft")
        if options.kind == "hard":
            return hard_label_loss(logits, scores)
        return decoupled_loss(logits, scores, labels, options.temperature, options.target, options.others)


@torch.no_grad()
def ask(teacher: nn.Module, batch: Batch) -> torch.Tensor:
    """The teacher's logits for the batch, float32, on its device."""
    device = batch.inputs[0].device
    with torch.autocast(device.type, torch.bfloat16):
        return teacher.to(device)(*batch.inputs).float()


def gap_closed(teacher: float, alone: float, distilled: float) -> float | None:
    """The share of the way from the student alone to the teacher; None if the teacher is no better."""
    return (distilled - alone) / (teacher - alone) if teacher > alone else None
