"""What inner layers of student and teacher see, compared while training: the losses of `feature_losses` on pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import mse_loss

from mdlake.errors import InvalidArgumentError
from mdlake.shrink.feature_losses import attention_loss, catch_features, relational_loss


def same_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The mean squared distance of features of one shape (Romero et al., FitNets, 2015, without a map between)."""
    if student.shape != teacher.shape:
        raise InvalidArgumentError(
            f"hints without a map are between features of one shape, not {list(student.shape)} and "
            f"{list(teacher.shape)}: use attention or relation"
        )
    return mse_loss(student, teacher.detach())


_LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "hint": same_loss,
    "attention": attention_loss,
    "relation": relational_loss,
}


@dataclass(frozen=True)
class FeatureOptions:
    """`pairs` of submodules, the student's and the teacher's, whose outputs are compared; `weight` in the loss.

    kind: "hint", "attention" (maps of images, widths may differ) or "relation" (how rows lie to each other).
    """

    kind: str
    pairs: tuple[tuple[str, str], ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "pairs", tuple((str(ours), str(theirs)) for ours, theirs in self.pairs))
        if self.kind not in _LOSSES:
            raise InvalidArgumentError(f"features are compared by {', '.join(_LOSSES)}, not {self.kind!r}")
        if not self.pairs or self.weight <= 0:
            raise InvalidArgumentError("features need a pair of submodules at least, and a weight above 0")


class WatchedPairs:
    """Catches the features of both networks from here on."""

    def __init__(self, options: FeatureOptions, student: nn.Module, teacher: nn.Module) -> None:
        self._options = options
        ours, theirs = zip(*options.pairs, strict=True)
        self._student, self._teacher = catch_features(student, ours), catch_features(teacher, theirs)

    def loss(self) -> torch.Tensor:
        """Of the last batch that both have seen: the weighted mean over pairs."""
        compare = _LOSSES[self._options.kind]
        losses = [
            compare(self._student[ours].float(), self._teacher[theirs].float()) for ours, theirs in self._options.pairs
        ]
        return self._options.weight * torch.stack(losses).mean()
