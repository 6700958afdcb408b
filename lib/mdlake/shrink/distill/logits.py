"""What a student learns from a teacher's logits: losses of tensors, each usable alone.

All but one take logits float [rows, classes] of student and teacher; all return the mean over rows, a scalar, in nats.
Gradients flow into the student only.
"""

from __future__ import annotations

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, kl_div, log_softmax, softmax
from torch.special import entr

from mdlake.errors import InvalidArgumentError
from mdlake.models.tasks.binary import spread


def soft_label_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float = 4.0) -> torch.Tensor:
    """The divergence of the softened student from the softened teacher, times the temperature squared.

    Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network (2015), section 2; the factor keeps the
    gradients' size when the temperature changes.
    """
    _check(student, teacher, temperature)
    chances = softmax(teacher.detach() / temperature, dim=1)  # of classes that the teacher rules out 0
    return temperature**2 * (cross_entropy(student / temperature, chances) - entr(chances).sum(1).mean())


def soft_logit_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float = 4.0) -> torch.Tensor:
    """Of one logit a row the cross entropy given the teacher [rows], times the temperature squared.

    The student is [rows] too, or [rows, members], each of which learns the same.
    """
    target = spread(torch.sigmoid(teacher.detach() / temperature), student)
    return temperature**2 * binary_cross_entropy_with_logits(student / temperature, target)


def hard_label_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Cross entropy against the class that the teacher decides for (as in Touvron et al., DeiT, 2021)."""
    _check(student, teacher, 1.0)
    return cross_entropy(student, teacher.detach().argmax(1))


def decoupled_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    labels: torch.Tensor,
    temperature: float = 4.0,
    target_weight: float = 1.0,
    other_weight: float = 8.0,
) -> torch.Tensor:
    """Soft labels in two parts with weights of their own: how sure of the true class, and how the others compare.

    Zhao, Cui, Song, Qiu and Liang, Decoupled Knowledge Distillation (2022), equation 7. In the plain loss the
    second part is multiplied by the teacher's doubt, so where the teacher is sure it teaches nothing of it.
    """
    _check(student, teacher, temperature)
    truth = torch.zeros_like(student, dtype=torch.bool).scatter_(1, labels.long().unsqueeze(1), True)
    ours, theirs = student / temperature, teacher.detach() / temperature
    of_target = kl_div(_two_way(ours, truth), _two_way(theirs, truth), log_target=True, reduction="batchmean")
    others = [logits.masked_fill(truth, float("-inf")) for logits in (ours, theirs)]
    chances, logs = softmax(others[1], dim=1), [log_softmax(logits, dim=1) for logits in others]
    apart = (logs[1] - logs[0]).masked_fill(truth, 0.0)
    of_others = (chances * apart).sum(1).mean()
    return temperature**2 * (target_weight * of_target + other_weight * of_others)


def _two_way(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """log p of the true class and of all others together, [rows, 2]."""
    logs = log_softmax(logits, dim=1)
    rest = torch.logsumexp(logs.masked_fill(truth, float("-inf")), dim=1)
    return torch.stack([logs[truth], rest], dim=1)


def _check(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> None:
    if student.dim() != 2 or student.shape != teacher.shape:
        raise InvalidArgumentError(
            f"logits are [rows, classes] of one shape, not {tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    if not temperature > 0:
        raise InvalidArgumentError(f"the temperature must be positive, not {temperature}")
