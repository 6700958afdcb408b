"""The students of a recipe: one for each way to teach that it leaves open, and one without a teacher."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import Store
from mdlake.models.bundle import MODEL_FILE
from mdlake.models.checkpoints import remove_checkpoints
from mdlake.models.metrics import score_of
from mdlake.models.opening import open_shards
from mdlake.models.records import find_record, fingerprint, folder_of, need_record, record_of, write_record
from mdlake.models.scoring import Loader
from mdlake.models.shards import Shards
from mdlake.shrink.distill.data_free import DataFreeOptions
from mdlake.shrink.distill.loss import DistillLoss, DistillOptions
from ray_tasks.options import CommonOptions, storage_options
from ray_tasks.recipe import Recipe
from ray_tasks.score import RECORD as SCORES
from ray_tasks.show import quality, say
from ray_tasks.train import plan_training
from ray_tasks.trained import ALONE, DISTILLED, TEACHER, need_trained
from ray_tasks.training import TrainPlan, WithoutData

_RECORD = record_of(DISTILLED)


@dataclass(frozen=True)
class Students:
    """A training for each way to teach, and one from hard labels alone."""

    taught: tuple[TrainPlan, ...]
    alone: TrainPlan

    @property
    def left(self) -> list[TrainPlan]:
        """Those that are not trained yet; none of the ways once the best of them is chosen."""
        ways = () if self._chosen() else self.taught
        return [plan for plan in (*ways, self.alone) if not find_record(plan.store, plan.record, plan.fingerprint)]

    def choose(self) -> dict[str, Any]:
        """Makes the best of the ways, on validation, the distilled student; returns its record."""
        record, store = self._chosen() or self._choose(), self.alone.store
        ways = f"{folder_of(DISTILLED)}_"  # of this recipe, or of one that was not brought to its end
        store.delete([info.path for info in store.list("checkpoints") if info.path.startswith(ways)])
        remove_checkpoints(store, folder_of(DISTILLED))
        return record

    def _choose(self) -> dict[str, Any]:
        store = self.alone.store
        found = [need_record(store, plan.record, "distill") for plan in self.taught]
        for plan, record in zip(self.taught, found, strict=True):
            say("distill", f"{plan.name}, {_told(record['distill'])}: {quality(record['validation'])} on validation")
        best = max(found, key=lambda record: (score_of(record["validation"]), -record["validation"]["loss"]))
        model = f"{folder_of(DISTILLED)}/{MODEL_FILE}"
        store.put(model, store.get(best["model"]))
        results = {key: best[key] for key in best if key not in ("fingerprint", "model")}
        return write_record(store, _RECORD, self._mark, model=model, **results)

    def _chosen(self) -> dict[str, Any] | None:
        return find_record(self.alone.store, _RECORD, self._mark)

    @property
    def _mark(self) -> str:
        marks = [plan.fingerprint for plan in self.taught]
        return marks[0] if len(marks) == 1 else fingerprint(ways=marks)


def plan_students(options: CommonOptions, recipe: Recipe, sharded: bool = False) -> Students:
    """A student from soft and hard labels for each way to teach, or without data, and the student from hard labels."""
    if recipe.student is None:
        raise InvalidArgumentError("the recipe has no student: compress makes the teacher itself small")
    alone = replace(plan_training(options, recipe, recipe.student), name=ALONE, sharded=sharded)
    if recipe.student.data_free:
        return Students((_without_data(options, recipe, alone, recipe.student.data_free),), alone)
    plans = []
    for number, way in enumerate(recipe.distill, 1):
        taught = taught_by(options.teacher_store, recipe, way)
        plans.append(
            replace(
                alone,
                name=DISTILLED if len(recipe.distill) == 1 else f"{DISTILLED}_{number}",
                train=replace(alone.train, scores=taught.scores),
                loss=taught.loss,
                inputs={**taught.inputs, "distill": asdict(way)},
            )
        )
    return Students(tuple(plans), alone)


def _without_data(options: CommonOptions, recipe: Recipe, alone: TrainPlan, made_up: DataFreeOptions) -> TrainPlan:
    made_up = replace(made_up, seed=options.seed)
    teacher = need_trained(options.teacher_store, TEACHER, recipe)
    loader = Loader(options.teacher_store, teacher["model"], recipe.teacher.own)
    inputs = {"teacher": teacher["fingerprint"], "data_free": asdict(made_up)}
    return replace(
        alone, name=DISTILLED, workers=1, sharded=False, inputs=inputs, without_data=WithoutData(loader, made_up)
    )


@dataclass(frozen=True)
class Taught:
    """How a network learns from the teacher: by scores beside the shards or, if there are none, by asking it."""

    loss: DistillLoss
    scores: Shards | None
    inputs: dict[str, Any]


def taught_by(store: Store, recipe: Recipe, way: DistillOptions) -> Taught:
    """In one of the recipe's ways. `inputs` name, for a fingerprint, what it rests on."""
    if not way.soft and not way.features:
        return Taught(DistillLoss(way), None, {})
    teacher = need_trained(store, TEACHER, recipe)
    if way.asked:
        loss = DistillLoss(way, Loader(store, teacher["model"], recipe.teacher.own))
        return Taught(loss, None, {"teacher": teacher["fingerprint"]})
    scores = need_record(store, SCORES, "score")
    if scores.get("teacher") != teacher["fingerprint"]:
        advice = "run `python -m ray_tasks.score` again"
        raise InvalidArgumentError(f"the scores are those of another teacher: {advice}", file=store.url_of(SCORES))
    url = store.url_of(scores["folder"])
    soft = open_shards(url, storage_options(url))
    return Taught(DistillLoss(way), soft, {"scores": scores["fingerprint"]})


def chosen_way(recipe: Recipe, student: Mapping[str, Any]) -> DistillOptions:
    """The way by which the distilled student of that record was taught."""
    taught = student.get("distill")  # not there where it was taught without data
    for way in recipe.distill:
        told = json.loads(json.dumps(asdict(way)))
        if taught is None or all(told.get(key) == taught[key] for key in taught):
            return way
    raise InvalidArgumentError("the student was not taught in one of the recipe's ways: run distill again")


def _told(way: Mapping[str, Any]) -> str:
    return f"{way['kind']}, temperature {way['temperature']:g}, soft {way['soft']:g}"
