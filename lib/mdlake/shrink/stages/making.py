"""What goes from stage to stage, and training within one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol

from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batch, Source, ordered_batches, sample
from mdlake.models.bundle import Model
from mdlake.models.metrics import score_of
from mdlake.models.schemes import Kept
from mdlake.models.training import Loss, Trainer, TrainingOptions, predict
from mdlake.shrink.prune import Masks


@dataclass(frozen=True)
class Data:
    """What a network is trained and measured on, and how well it must do: `floor`, of the validation split's score."""

    train: Source
    validation: Source
    loss: Loss
    floor: float = 0.0

    @cached_property
    def held(self) -> list[Batch]:
        """The validation split."""
        return list(ordered_batches(self.validation))

    def sample(self, batches: int, seed: int, size: int = 1024) -> list[Batch]:
        """So many batches of the train split, chosen by the seed."""
        return sample(self.train, batches, seed, size)

    def measure(self, module: nn.Module) -> float:
        """The score on the validation split."""
        return self.validation.task.measure(*predict(module, iter(self.held))).score


@dataclass
class Making:
    """A network on its way: its module, changed in place, which weights stay, how tensors are to be kept.

    `folded`: its batch norms are not to be trained any more. `watch` is given the figures of all epochs so far after
    each.
    """

    model: Model
    masks: Masks = field(default_factory=dict)
    schemes: dict[str, Kept] = field(default_factory=dict)
    folded: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)
    watch: Callable[[list[dict[str, Any]]], None] | None = None

    @property
    def module(self) -> nn.Module:
        return self.model.module

    def tune(
        self,
        data: Data,
        training: TrainingOptions,
        seen: nn.Module | None = None,
        before_step: Callable[[], None] | None = None,
        after_step: Callable[[], None] | None = None,
        keep_best: bool = True,
    ) -> None:
        """Trains `seen`, by default the network; it ends as its best epoch by score was, before any step included.

        keep_best: False leaves it as the last step did, where earlier epochs are not what is wanted.
        """
        if self.folded:
            raise InvalidArgumentError(
                "batch norms were folded, so nothing can be trained: put fold last", stage="fold"
            )
        seen = seen or self.module
        trainer = Trainer(
            seen, data.train, data.validation, training, data.loss, before_step=before_step, after_step=after_step
        )
        best, best_score = copy.deepcopy(seen.state_dict()), trainer.measure().score if keep_best else 0.0
        for progress in trainer.run():
            score = score_of(progress.history[-1])
            if keep_best and score > best_score:
                best, best_score = copy.deepcopy(seen.state_dict()), score
            if self.watch:
                self.watch(self._counted(progress.history))
        if keep_best:
            seen.load_state_dict(best)
        seen.eval()
        self.history = self._counted(trainer.progress.history)

    def need_whole(self, stage: str) -> None:
        """Refuses a stage that changes the layers after one that chose single weights or their values."""
        if self.masks or self.schemes:
            raise InvalidArgumentError(
                "this stage changes the layers themselves: put it before the others", stage=stage
            )

    def _counted(self, history: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """All figures: epochs, steps and seconds count on from those of earlier stages."""
        last = self.history[-1] if self.history else {}
        counted = ("epoch", "step", "seconds")
        return self.history + [{**row, **{key: row[key] + last.get(key, 0) for key in counted}} for row in history]


def restored(module: nn.Module, schemes: Mapping[str, Kept]) -> nn.Module:
    """A copy of the network with its tensors as they are kept."""
    whole = copy.deepcopy(module)
    whole.load_state_dict({**whole.state_dict(), **{name: scheme.restore() for name, scheme in schemes.items()}})
    return whole


class Stage(Protocol):
    """A frozen dataclass: its fields are the options that a recipe gives, `use` is what the recipe calls it."""

    use: ClassVar[str]

    def run(self, making: Making, data: Data) -> None:
        """Changes `making`."""
        ...

    def __str__(self) -> str:
        """What sets this candidate apart from others."""
        ...
