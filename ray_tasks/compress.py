"""Makes the distilled student an artifact: candidates in parallel, the smallest within the budget wins.

    python -m ray_tasks.compress --lake URL [--workers 2] [--ray ADDRESS]

Without a student in the recipe it is the teacher that is made small. A candidate is one combination of the options
that the recipe's stages have, run in order, then encoded; with `refine` there are more, between the best and those over
the budget. All choices are made on the validation split; the test split is not opened. The result does not depend on
the number of workers. Candidates that begin with the same stage are one task; what it found is kept until there is an
artifact, so a run that was killed, or that failed for its budget, repeats only tasks that had not finished.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import Store
from mdlake.models.batches import Source
from mdlake.models.bundle import load_bundle
from mdlake.models.curves import Curves
from mdlake.models.metrics import score_name, score_of
from mdlake.models.networks import count_parameters
from mdlake.models.own import Own
from mdlake.models.records import find_record, fingerprint, need_record, record_of, write_record
from mdlake.shrink.attempts import Attempt, attempts
from mdlake.shrink.candidates import Candidate
from mdlake.shrink.compress import compress as compress_model
from mdlake.shrink.search import Budget, choose, refine
from mdlake.shrink.stages import SEARCHING, Data, Stage
from mdlake.statistics.figures import CANDIDATE
from ray_tasks.engine import RayEngine
from ray_tasks.figures import record_layers, record_models, record_training
from ray_tasks.options import CommonOptions, option, parse_options
from ray_tasks.recipe import Recipe, load_recipe
from ray_tasks.session import connected
from ray_tasks.show import reported, say
from ray_tasks.students import chosen_way, taught_by
from ray_tasks.trained import ALONE, DISTILLED, TEACHER, check_asked, need_trained

ARTIFACT, RECORD = "artifacts/student.safetensors", "artifacts/student.json"
_KEPT = "artifacts/candidates"


@dataclass(frozen=True)
class CompressOptions(CommonOptions):
    max_bytes: int = option(0, "bytes of the artifact at most; the best within them is taken, whatever it drops")
    explain: bool = option(False, "record what each stage saved and cost, layer by layer; measures more often")
    max_drop: float = option(
        -1.0, "score (AUC or accuracy) that may be lost on the validation split; default: the recipe's"
    )
    tensorboard: bool = option(False, "curves for TensorBoard in tensorboard/ of the lake, an event file a run")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_bytes < 0:
            raise InvalidArgumentError(f"max_bytes must be at least 1, or 0 for any, not {self.max_bytes}")


@dataclass(frozen=True)
class CompressTask:
    """Candidates that begin alike; small, since the model and the rows are read where the work is done.

    `model` is in `place`, and `kept` where in `store` what is found is kept until all are done.
    """

    store: Store
    place: Store
    model: str
    own: Own
    attempts: tuple[Attempt, ...]
    data: Data
    effort: str
    seed: int
    explain: bool
    give_up: float
    kept: str
    curves: Curves | None = None

    @property
    def name(self) -> str:
        return str(self.attempts[0][0])


@dataclass(frozen=True)
class Plan:
    """The search: where it begins, within which budget, and how often it looks between.

    `student` is the fingerprint of what is made small, `recipe` what a recipe says of that, both for the record;
    `asked` is what candidates come of but for their attempts: they are the same within another budget, unless a stage
    looks for what that allows.
    """

    start: CompressTask
    budget: Budget
    refine: int
    fingerprint: str
    asked: str
    student: str
    recipe: dict[str, Any]

    def tasks(self, attempts: Sequence[Attempt]) -> list[CompressTask]:
        """A task for each way to begin."""
        begun: dict[Stage, list[Attempt]] = {}
        for attempt in attempts:
            begun.setdefault(attempt[0], []).append(attempt)
        return [
            replace(self.start, attempts=tuple(alike), kept=f"{_KEPT}/{self.asked}-{fingerprint(of=repr(alike))}.json")
            for alike in begun.values()
        ]


def compress(options: CompressOptions) -> dict[str, Any]:
    """Returns the record of the artifact."""
    plan = plan_search(options)
    store, mark = options.store, plan.fingerprint
    done = find_record(store, RECORD, mark)
    if done:
        say("compress", f"the artifact is there already: {done['bytes']} bytes")
        return done
    candidates = _search(options, plan)
    best = choose(candidates, plan.budget)
    store.put(ARTIFACT, best.data)
    record = write_record(
        store, RECORD, mark, asked=plan.recipe, student=plan.student, artifact=ARTIFACT, bytes=len(best.data),
        stages=best.name, bits=best.bits, nonzero=best.nonzero, score=best.score,
    )  # fmt: skip
    _record_statistics(options, plan.start, best, candidates, mark)
    store.delete([info.path for info in store.list(_KEPT)])
    say("compress", f"{ARTIFACT}: {len(best.data)} bytes, a score of {best.score:.4f} on validation")
    return record


def plan_search(options: CompressOptions) -> Plan:
    """The first attempts, all together as one task, and what the search is for."""
    recipe, store = load_recipe(options.recipe), options.store
    name, place = (DISTILLED, store) if recipe.student else (TEACHER, options.teacher_store)
    own = (recipe.student or recipe.teacher).own
    student = need_trained(place, name, recipe)
    way = recipe.taught_on or (chosen_way(recipe, student) if recipe.student else recipe.distill[0])
    taught = taught_by(options.teacher_store, recipe, replace(way, features=None))  # layers may go
    steps = recipe.compress
    if options.max_drop >= 0:
        steps = replace(steps, max_drop=options.max_drop)
    steps = replace(steps, training=replace(steps.training, seed=options.seed))
    model = load_bundle(place, student["model"], own)
    data = Data(
        Source(options.split("train"), model.features, model.task, taught.scores),
        Source(options.split("validation"), model.features, model.task),
        taught.loss,
        _whole_score(store, steps.against, student) - steps.max_drop,
    )
    asked = {name: value for name in ("max_bytes", "explain") if (value := getattr(options, name))}
    given = {"student": student["fingerprint"], "distill": asdict(way), **taught.inputs}
    mark = fingerprint(**given, steps=asdict(steps), **asked)
    start = CompressTask(
        store,
        place,
        student["model"],
        own,
        tuple(attempts(steps)),
        data,
        steps.effort,
        options.seed,
        options.explain,
        math.inf if options.max_bytes else steps.give_up,
        kept="",
        curves=Curves(store, f"compress-{mark}") if options.tensorboard else None,
    )
    searching = any(isinstance(stage, SEARCHING) for attempt in start.attempts for stage in attempt)
    within = {"floor": data.floor} if searching else {}
    asked_of_all = fingerprint(**given, **within, effort=steps.effort, seed=options.seed, explain=options.explain)
    budget = Budget(data.floor, options.max_bytes)
    return Plan(start, budget, steps.refine, mark, asked_of_all, student["fingerprint"], _asked_for(recipe))


def need_artifact(store: Store, recipe: Recipe, student: str) -> dict[str, Any]:
    """The record of the artifact of the student (or teacher) with that fingerprint.

    Raises:
        InvalidArgumentError: there is none yet, or it was made of another one or by another recipe.
    """
    record, url = need_record(store, RECORD, "compress"), store.url_of(RECORD)
    if record.get("student", student) != student:
        raise InvalidArgumentError(
            "the artifact was made of a network that has been trained anew: run `python -m ray_tasks.compress` again",
            file=url,
        )
    check_asked("the artifact", record, _asked_for(recipe), "compress", url)
    return record


def _asked_for(recipe: Recipe) -> dict[str, Any]:
    way = recipe.taught_on and asdict(recipe.taught_on)
    return json.loads(json.dumps({"compress": asdict(recipe.compress), "distill": way}))


def _whole_score(store: Store, against: str, student: Mapping[str, Any]) -> float:
    """What a drop is counted from, on the validation split."""
    if against == "itself":
        return score_of(student["validation"])
    return score_of(need_record(store, record_of(ALONE), "distill")["validation"])


def _search(options: CompressOptions, plan: Plan) -> list[Candidate]:
    """All candidates. Each round knows all of those before it, whoever made them when."""
    candidates: list[Candidate] = []
    with connected(options.ray, options.workers):
        engine, following = RayEngine(options.workers), list(plan.start.attempts)
        for _ in range(1 + plan.refine):
            tasks = plan.tasks(following)
            for found in engine.map(run_task, tasks):
                candidates += found
                for candidate in found:
                    _say_candidate(candidate, plan.budget)
            following = refine(candidates, plan.budget)
            if not following:
                break
    return candidates


def run_task(task: CompressTask) -> list[Candidate]:
    """The candidates of the task: those that another run left, or made now."""
    if task.store.exists(task.kept):
        kept = [Candidate.from_json(task.attempts, found) for found in json.loads(task.store.get(task.kept))]
        if all(made.ends_as_well(task.data.floor - task.give_up) for made in kept):
            return kept
    torch.set_num_threads(1)
    torch.manual_seed(task.seed)
    model = load_bundle(task.place, task.model, task.own)
    how = {"explain": task.explain, "give_up": task.give_up, "watch": task.curves}
    found = compress_model(model, task.attempts, task.data, task.effort, **how)
    task.store.put(task.kept, json.dumps([candidate.to_json() for candidate in found]).encode())
    return found


def _say_candidate(candidate: Candidate, budget: Budget) -> None:
    over = "" if budget.keeps(candidate) else ", over the budget" if candidate.whole else ", given up"
    figures = f"{candidate.bits:.1f} bits in the mean: score {candidate.score:.4f}, {len(candidate.data)} bytes"
    say("compress", f"{candidate.name}; {figures}{over}")


def _record_statistics(
    options: CompressOptions, task: CompressTask, best: Candidate, candidates: Sequence[Candidate], mark: str
) -> None:
    """A row for each stage of the best, and one for each candidate."""
    model = load_bundle(task.place, task.model, task.own)
    common = {"parameters": count_parameters(model.module), "split": "validation"}
    score = score_name(model.metrics).lower()
    rows = [
        {"model": name, "stage": stage, "nonzero": made.nonzero, "bits": made.bits, "bytes": size, score: made.score}
        for name, stage, made, size in (
            *((CANDIDATE, made.name, made, len(made.data)) for made in candidates if made.whole),
            *(("compressed", report.stage, report, report.bytes) for report in best.stages),
        )
    ]
    record_models(options, [{**common, **row} for row in rows], run=f"compress-{mark}")
    record_layers(options, best.layers, run=f"compress-{mark}")
    record_training(options, "student pruned", best.history, run=f"compress-{mark}")


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_options(CompressOptions, "compress", argv, __doc__ or "")
    with reported("compress"):
        compress(options)


if __name__ == "__main__":
    main(sys.argv[1:])
