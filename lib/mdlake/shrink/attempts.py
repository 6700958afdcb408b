"""The ways to compress that a recipe asks for: every combination of its stages' options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from mdlake.errors import InvalidArgumentError, located
from mdlake.models.training import TrainingOptions
from mdlake.shrink.choices import choices
from mdlake.shrink.stages import STAGES, Stage
from mdlake.tables import filled

Attempt = tuple[Stage, ...]
"""One way to compress."""

_PRUNE = {"use": "prune", "score": "lamp", "biases": True, "ramp_epochs": 4}
_SHARE = {"use": "codebook", "entries": [4, 8], "aware": {}}
AUTO: Sequence[Sequence[Mapping[str, Any]]] = (
    ({"use": "rate"},),
    ({**_PRUNE, "sparsity": [0.5, 0.8, 0.9, 0.95, 0.98]}, _SHARE),
    ({"use": "cut", "share": [0.25, 0.5]}, {**_PRUNE, "sparsity": [0.8, 0.9]}, _SHARE),
    ({"use": "factorize"}, {"use": "linear", "bits": [4, 8]}, {"use": "fold"}),
)
"""What "auto" tries."""


@dataclass(frozen=True)
class CompressOptions:
    """Candidates are all combinations of the stages' options; all stages may cost `max_drop` of the score.

    `against`: whose score, that of the network "itself" or of the student "alone", which had no teacher.
    `stages`: tables as in a recipe, `use` names the stage; an option that is a list is tried with each of its values.
    "auto": several ways through the stages, for who does not know which fits (`AUTO`). `refine`: so many times more,
    values between those that kept the budget and those that did not. A candidate that is `give_up` below the budget
    after a stage is not taken further. `training`: of stages that have none of their own. `effort` is the block
    codec's: "max" saves about 2 % of a small network, and takes a minute to get ready.
    """

    stages: str | Sequence[Mapping[str, Any]] = ({"use": "prune"}, {"use": "linear"})
    max_drop: float = 0.002
    against: str = "itself"
    refine: int = 0
    give_up: float = 0.02
    effort: str = "default"
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        if not self.stages:
            raise InvalidArgumentError("at least one stage is needed")
        if isinstance(self.stages, str) and self.stages != "auto":
            raise InvalidArgumentError(f"stages are tables, or auto, not {self.stages!r}")
        if self.against not in ("itself", "alone"):
            raise InvalidArgumentError(f"a drop is counted against itself or alone, not {self.against!r}")
        if self.refine < 0 or self.give_up < 0:
            raise InvalidArgumentError("refine and give_up are 0 or more")
        attempts(self)  # wrong options are told now


def attempts(options: CompressOptions) -> list[Attempt]:
    """All combinations of the stages' options, the first stage's varying slowest."""
    ways = AUTO if isinstance(options.stages, str) else (options.stages,)
    return [attempt for way in ways for attempt in product(*(_choices(table, options.training) for table in way))]


def told(attempt: Attempt) -> str:
    """The attempt in words."""
    return ", ".join(map(str, attempt))


def _choices(table: Mapping[str, Any], training: TrainingOptions) -> list[Stage]:
    """A stage for each combination of the values of those options that are lists."""
    given = dict(table)
    use = given.pop("use", None)
    if not isinstance(use, str) or use not in STAGES:
        raise InvalidArgumentError(f"a stage uses one of {', '.join(STAGES)}, not {use!r}")
    with located(stage=use):
        given["training"] = filled(TrainingOptions, vars(training) | given.get("training", {}), "training")
        if "aware" in given:
            given["aware"] = filled(TrainingOptions, vars(given["training"]) | given["aware"], "aware")
        return [filled(STAGES[use], options, use, "stage") for options in choices(given)]
