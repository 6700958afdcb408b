"""Trains the student twice: from the teacher's outputs and the labels, and from the labels alone.

    python -m ray_tasks.distill --lake URL [--workers 2] [--ray ADDRESS]

The two trainings differ in the loss and in nothing else, so the difference is what distillation adds. Where the recipe
leaves open how to teach, as with `temperature = [2, 4]`, a student is trained in each way, all of them from one
scoring, and the best on the validation split is the distilled one. With `data_free` the student sees no row of the
train split: one worker makes images up for it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mdlake.models.curves import Curves
from mdlake.models.metrics import score_name, score_of
from mdlake.models.records import need_record
from mdlake.shrink.distill.loss import gap_closed
from ray_tasks.figures import record_training
from ray_tasks.options import CommonOptions, option, parse_options
from ray_tasks.recipe import Recipe, load_recipe
from ray_tasks.session import connected
from ray_tasks.show import EpochLines, reported, say
from ray_tasks.students import plan_students
from ray_tasks.trained import ALONE, DISTILLED, TEACHER, need_trained
from ray_tasks.training import TrainPlan, commit_training


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

        students = plan_students(options, recipe, options.sharded)
        left = students.left
        if not left:
            say("distill", "both students are trained already")
        else:
            if options.tensorboard:
                left = [replace(plan, curves=Curves(plan.store, run_of(plan))) for plan in left]
            made_up = [plan for plan in left if plan.without_data]
            shared = [plan for plan in left if not plan.without_data]
            for plans, workers in ((made_up, 1), (shared, options.workers)):
                if plans:
                    train_on_ray(plans, workers, options.gpus, EpochLines("distill", plans[0].epochs))
        for plan in left:
            history = commit_training(plan)["history"]
            record_training(options, plan.name.replace("_", " "), history, run_of(plan))
    records = {DISTILLED: students.choose(), ALONE: need_record(options.store, students.alone.record, "distill")}
    _say_gap(options, recipe, records)
    return records


def run_of(plan: TrainPlan) -> str:
    """What its figures are recorded under."""
    return f"{plan.name}-{plan.fingerprint}"


def _say_gap(options: CommonOptions, recipe: Recipe, records: dict[str, dict[str, Any]]) -> None:
    teacher = need_trained(options.teacher_store, TEACHER, recipe)
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
