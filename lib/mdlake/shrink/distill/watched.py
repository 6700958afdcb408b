"""What inner layers of student and teacher see, compared while training: the losses of `features` on pairs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batch
from mdlake.models.training import put_beside
from mdlake.shrink.curvature import evaluating
from mdlake.shrink.distill.features import HintLoss, attention_loss, relational_loss, watch_features

Compare = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_KINDS = ("hint", "attention", "relation")


@dataclass(frozen=True)
class FeatureOptions:
    """`pairs` of submodules, the student's and the teacher's, whose outputs are compared; `weight` in the loss.

    kind: "hint" (a map to the teacher's width is learnt), "attention" (maps of images) or "relation" (how rows lie to
    each other). Widths may differ, and the sizes of maps.
    """

    kind: str
    pairs: tuple[tuple[str, str], ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not all(isinstance(pair, list | tuple) and [*map(type, pair)] == [str, str] for pair in self.pairs):
            raise InvalidArgumentError(f'pairs are lists of two names, as [["layers.2", "blocks.1"]], not {self.pairs}')
        object.__setattr__(self, "pairs", tuple(map(tuple, self.pairs)))
        if self.kind not in _KINDS:
            raise InvalidArgumentError(f"features are compared by {', '.join(_KINDS)}, not {self.kind!r}")
        if not self.pairs or self.weight <= 0:
            raise InvalidArgumentError("features need a pair of submodules at least, and a weight above 0")


class WatchedPairs:
    """Catches the features of both networks from here on; the batch tells of what shapes they are.

    Maps of hints are put into the student, to be trained with it.
    """

    def __init__(self, options: FeatureOptions, student: nn.Module, teacher: nn.Module, batch: Batch) -> None:
        self._options = options
        ours, theirs = zip(*options.pairs, strict=True)
        self._watching = ExitStack()
        self._student = self._watching.enter_context(watch_features(student, ours))
        self._teacher = self._watching.enter_context(watch_features(teacher, theirs))
        for network in (student, teacher):
            with torch.no_grad(), evaluating(network):
                network(*batch.to(next(network.parameters()).device).inputs)
        self._check()
        self._compare: list[Compare] = [attention_loss if options.kind == "attention" else relational_loss] * len(ours)
        if options.kind == "hint":
            maps = nn.ModuleList(_hint(*pair) for pair in self._pairs())
            put_beside(student, maps)
            self._compare = list(maps)

    def loss(self) -> torch.Tensor:
        """Of the last batch that both have seen: the weighted mean over pairs."""
        losses = [compare(*pair) for compare, pair in zip(self._compare, self._pairs(), strict=True)]
        return self._options.weight * torch.stack(losses).mean()

    def close(self) -> None:
        """Nothing is caught any more."""
        self._watching.close()

    def _check(self) -> None:
        for seen, names in zip((self._student, self._teacher), zip(*self._options.pairs, strict=True), strict=True):
            for name in names:
                if not isinstance(seen.get(name), torch.Tensor):
                    self.close()
                    raise InvalidArgumentError(f"the submodule {name!r} gives no tensor when a row goes through")

    def _pairs(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(self._student[ours].float(), self._teacher[theirs].float()) for ours, theirs in self._options.pairs]


def _hint(student: torch.Tensor, teacher: torch.Tensor) -> HintLoss:
    if student.dim() != teacher.dim():
        raise InvalidArgumentError(
            f"hints are between features of as many dimensions, not {list(student.shape)} and {list(teacher.shape)}"
        )
    axis = 1 if student.dim() == 4 else -1
    return HintLoss(student.shape[axis], teacher.shape[axis], spatial=student.dim() == 4)
