"""Trains the teacher: shards -> features -> data-parallel training -> `checkpoints/teacher/`.

python -m ray_tasks.train --lake URL [--workers 2] [--ray ADDRESS]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mdlake.models.batches import Source
from mdlake.models.curves import Curves
from mdlake.models.inputs import fit_inputs
from mdlake.models.records import find_record
from mdlake.models.training import hard_loss
from ray_tasks.engine import RayEngine
from ray_tasks.figures import record_training
from ray_tasks.options import CommonOptions, option, parse_options
from ray_tasks.recipe import NetworkPlan, Recipe, load_recipe
from ray_tasks.session import connected
from ray_tasks.show import EpochLines, quality, reported, say
from ray_tasks.trained import TEACHER, asked_for
from ray_tasks.training import TrainPlan, commit_training


@dataclass(frozen=True)
class TrainOptions(CommonOptions):
    gpus: bool = option(False, "one GPU for each worker")
    sharded: bool = option(False, "each worker keeps a part of the network, for one that does not fit a single GPU")
    tensorboard: bool = option(False, "curves for TensorBoard in tensorboard/ of the lake, an event file a run")


def train(options: TrainOptions) -> dict[str, Any]:
    """Returns the record of the teacher: parameters, bytes, measures on the validation split."""
    recipe = load_recipe(options.recipe)
    with connected(options.ray, options.workers):
        from ray_tasks.data_parallel import train_on_ray  # imports Ray, whose settings are made now

        plan = replace(plan_training(options, recipe, recipe.teacher), sharded=options.sharded)
        done, run = find_record(plan.store, plan.record, plan.fingerprint), f"train-{plan.fingerprint}"
        if done:
            say("train", f"the teacher is trained already: {quality(done['validation'])} on validation")
            return done
        before = plan.store.exists(plan.record)
        plan = replace(plan, curves=Curves(plan.store, run) if options.tensorboard else None)
        train_on_ray([plan], options.workers, options.gpus, EpochLines("train", plan.training.epochs))
        record = commit_training(plan)
    record_training(options, TEACHER, record["history"], run=run)
    say("train", f"teacher: {record['parameters']} parameters, {quality(record['validation'])} on validation")
    if before:
        say("train", "it takes the place of another: what was made of that one wants the later verbs again")
    return record


def plan_training(options: CommonOptions, recipe: Recipe, network: NetworkPlan) -> TrainPlan:
    """Fits the features to the train split, a task per file, and puts the plan together."""
    columns = [*network.seen.columns, recipe.task.column]
    shards, validation = options.split("train", columns), options.split("validation", columns)
    spec = fit_inputs(shards, network.seen, RayEngine(options.workers).map)
    return TrainPlan(
        name=TEACHER,
        store=options.store,
        network=network.network,
        network_options=network.network_options(spec, recipe.task.outputs),
        train=Source(shards, spec, recipe.task),
        validation=Source(validation, spec, recipe.task),
        training=replace(network.training, seed=options.seed),
        loss=hard_loss,
        workers=options.workers,
        channels_last=network.channels_last,
        asked=asked_for(recipe, network),
        inputs={},
    )


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_options(TrainOptions, "train", argv, __doc__ or "")
    with reported("train"):
        train(options)


if __name__ == "__main__":
    main(sys.argv[1:])
