"""Trains the student twice: from the teacher's outputs and the labels, and from the labels alone.

    python -m ray_tasks.distill --lake URL [--workers 2] [--ray ADDRESS]

The two trainings differ in the loss and in nothing else, so the difference is what distillation adds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import Store
from mdlake.models.curves import Curves
from mdlake.models.metrics import score_name, score_of
from mdlake.models.records import find_record, need_record
from mdlake.models.scoring import Loader
from mdlake.models.shards import Shards, open_shards
from mdlake.shrink.distill import DistillLoss, gap_closed
from ray_tasks.figures import record_training
from ray_tasks.options import CommonOptions, option, parse_options, storage_options
from ray_tasks.recipe import Recipe, load_recipe
from ray_tasks.score import RECORD as SCORES
from ray_tasks.session import connected
from ray_tasks.show import EpochLines, reported, say
from ray_tasks.train import plan_training
from ray_tasks.training import TrainPlan, commit_training

DISTILLED, ALONE = "student_distilled", "student_alone"


@dataclass(frozen=True)
class DistillOptions(CommonOptions):
    gpus: bool = option(False, "one GPU for each worker")
    sharded: bool = option(False, "each worker keeps a part of the network, for one that does not fit a single GPU")
    tensorboard: bool = option(False, "curves for TensorBoard in tensorboard/ of the lake, an event file a run")


def distill(options: DistillOptions) -> dict[str, dict[str, Any]]:
    """Returns the records of both students by name."""
    recipe = load_recipe(options.recipe)
    with connected(options.ray, options.workers):
        from ray_tasks.data_parallel import train_on_ray  # imports Ray, whose settings are made now

        plans = plan_students(options, recipe, options.sharded)
        records = {plan.name: find_record(plan.store, plan.record, plan.fingerprint) for plan in plans}
        left = [plan for plan in plans if not records[plan.name]]
        if not left:
            say("distill", "both students are trained already")
        else:
            if options.tensorboard:
                left = [replace(plan, curves=Curves(plan.store, run_of(plan))) for plan in left]
            train_on_ray(left, options.workers, options.gpus, EpochLines("distill", left[0].training.epochs))
        for plan in left:
            record = records[plan.name] = commit_training(plan)
            record_training(options, plan.name.replace("_", " "), record["history"], run_of(plan))
    found = {name: record for name, record in records.items() if record}
    _say_gap(options, found)
    return found


def run_of(plan: TrainPlan) -> str:
    """What its figures are recorded under."""
    return f"{plan.name}-{plan.fingerprint}"


def plan_students(options: CommonOptions, recipe: Recipe, sharded: bool = False) -> list[TrainPlan]:
    """The student from soft and hard labels, and the student from hard labels."""
    if recipe.student is None:
        raise InvalidArgumentError("the recipe has no student: compress makes the teacher itself small")
    alone = replace(plan_training(options, recipe, recipe.student), name=ALONE, sharded=sharded)
    taught = taught_by(options.teacher_store, recipe)
    distilled = replace(
        alone,
        name=DISTILLED,
        train=replace(alone.train, scores=taught.scores),
        loss=taught.loss,
        inputs={**taught.inputs, "distill": asdict(recipe.distill)},
    )
    return [distilled, alone]


@dataclass(frozen=True)
class Taught:
    """How a network learns from the teacher: by scores beside the shards or, if there are none, by asking it."""

    loss: DistillLoss
    scores: Shards | None
    inputs: dict[str, Any]


def taught_by(store: Store, recipe: Recipe) -> Taught:
    """As the recipe wants it. `inputs` name, for a fingerprint, what it rests on."""
    if not recipe.distill.soft and not recipe.distill.features:
        return Taught(DistillLoss(recipe.distill), None, {})
    if recipe.distill.asked:
        teacher = need_record(store, "checkpoints/teacher/record.json", "train")
        loss = DistillLoss(recipe.distill, Loader(store, teacher["model"], recipe.teacher.own))
        return Taught(loss, None, {"teacher": teacher["fingerprint"]})
    scores = need_record(store, SCORES, "score")
    url = store.url_of(scores["folder"])
    soft = open_shards(url, storage_options(url))
    return Taught(DistillLoss(recipe.distill), soft, {"scores": scores["fingerprint"]})


def _say_gap(options: CommonOptions, records: dict[str, dict[str, Any]]) -> None:
    teacher = need_record(options.teacher_store, "checkpoints/teacher/record.json", "train")
    measured = [record["validation"] for record in (teacher, records[ALONE], records[DISTILLED])]
    scores = [score_of(figures) for figures in measured]
    share = gap_closed(*scores)
    text = "the teacher is no better than the student" if share is None else f"{share:.0%} of the gap closed"
    found = "teacher {:.4f}, student alone {:.4f}, distilled {:.4f}; ".format(*scores)
    say("distill", f"validation {score_name(measured[0])}: {found}{text}")


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_options(DistillOptions, "distill", argv, __doc__ or "")
    with reported("distill"):
        distill(options)


if __name__ == "__main__":
    main(sys.argv[1:])
