"""Scores the train split with the teacher: a pool of actors, one file of logits per shard, in `scores/`.

    python -m ray_tasks.score --lake URL [--workers 2] [--ray ADDRESS]

A file that is there is done: a run that was killed continues with the next. The files of one teacher lie in
a folder named by its fingerprint, so that another teacher's never mix with them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import Store
from mdlake.models.records import find_record, fingerprint, write_record
from mdlake.models.scoring import Loader, ScoreTask, score_file
from mdlake.models.shards import Shards
from ray_tasks.engine import RayEngine
from ray_tasks.options import CommonOptions, option, parse_options
from ray_tasks.recipe import Recipe, load_recipe
from ray_tasks.session import connected
from ray_tasks.show import reported, say
from ray_tasks.trained import TEACHER, need_trained

RECORD = "scores/record.json"


@dataclass(frozen=True)
class ScoreOptions(CommonOptions):
    top: int = option(0, "of each row only so many of the highest outputs, for large vocabularies; 0: all")


@dataclass(frozen=True)
class ScorePlan:
    """The folder that gets the scores, the tasks that are left, and how many files there will be.

    `made_by`: the fingerprint of the teacher.
    """

    fingerprint: str
    made_by: str
    teacher: Loader
    folder: str
    tasks: list[ScoreTask]
    files: int


def score(options: ScoreOptions) -> dict[str, Any]:
    """Returns the record of the scores: their folder and rows."""
    store, shards = options.store, options.split("train")
    plan = plan_scores(store, shards, load_recipe(options.recipe), options.top)
    done = find_record(store, RECORD, plan.fingerprint)
    if done:
        say("score", f"{done['rows']} rows are scored already")
        return done
    with connected(options.ray, options.workers):
        engine = RayEngine(options.workers)
        for task, rows in zip(plan.tasks, engine.map_with(plan.teacher, score_file, plan.tasks), strict=True):
            say("score", f"{task.target}: {rows} rows")
    say("score", f"{shards.rows} rows in {plan.files} files, {len(plan.tasks)} of them now")
    return write_record(store, RECORD, plan.fingerprint, teacher=plan.made_by, folder=plan.folder, rows=shards.rows)


def plan_scores(store: Store, shards: Shards, recipe: Recipe, top: int = 0) -> ScorePlan:
    """A task for every shard whose scores are not there yet"""
    if top < 0:
        raise InvalidArgumentError(f"the highest outputs to keep are 1 or more, or 0 for all, not {top}")
    teacher = need_trained(store, TEACHER, recipe)
    asked = {"top": top} if top else {}
    mark = fingerprint(teacher=teacher["fingerprint"], shards=shards.fingerprint, **asked)
    folder = f"scores/{mark}/train"
    there = {info.path for info in store.list(folder)}
    tasks = [
        ScoreTask(shards, file, store, f"{folder}/{path}", top)
        for file, path in enumerate(shards.files)
        if f"{folder}/{path}" not in there
    ]
    loader = Loader(store, teacher["model"], recipe.teacher.own)
    return ScorePlan(mark, teacher["fingerprint"], loader, folder, tasks, len(shards.files))


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_options(ScoreOptions, "score", argv, __doc__ or "")
    with reported("score"):
        score(options)


if __name__ == "__main__":
    main(sys.argv[1:])
