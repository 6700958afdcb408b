"""Makes the distilled student an artifact: candidates in parallel, the smallest within the budget wins.

    python -m ray_tasks.compress --lake URL [--workers 2] [--ray ADDRESS]

Without a student in the recipe it is the teacher that is made small. A candidate is one combination of the options
that the recipe's stages have, run in order, then encoded. All choices are made on the validation split; the test split
is not opened. The result does not depend on the number of workers. Candidates that begin with the same stage are one
task; what it found is kept until all are done, so a run that was killed repeats only tasks that had not finished.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
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
from mdlake.models.records import find_record, fingerprint, need_record, write_record
from mdlake.shrink.compress import Attempt, Candidate, attempts, choose
from mdlake.shrink.compress import compress as compress_model
from mdlake.shrink.stages import Data, Stage
from mdlake.statistics.figures import CANDIDATE
from ray_tasks.distill import DISTILLED, taught_by
from ray_tasks.engine import RayEngine
from ray_tasks.figures import record_models, record_training
from ray_tasks.options import CommonOptions, option, parse_options
from ray_tasks.recipe import load_recipe
from ray_tasks.session import connected
from ray_tasks.show import reported, say
from ray_tasks.train import TEACHER

ARTIFACT, RECORD = "artifacts/student.safetensors", "artifacts/student.json"
_KEPT = "artifacts/candidates"


@dataclass(frozen=True)
class CompressOptions(CommonOptions):
    max_bytes: int = option(0, "bytes of the artifact at most; the best within them is taken, whatever it drops")
    max_drop: float = option(
        -1.0, "score (AUC or accuracy) that may be lost on the validation split; default: the recipe's"
    )
    tensorboard: bool = option(False, "curves for TensorBoard in tensorboard/ of the lake, an event file a run")


@dataclass(frozen=True)
class CompressTask:
    """Candidates that begin alike; small, since the model and the rows are read where the work is done.

    `kept`: where in the store what was found is kept.
    """

    store: Store
    model: str
    own: Own
    attempts: tuple[Attempt, ...]
    data: Data
    effort: str
    seed: int
    kept: str
    curves: Curves | None = None

    @property
    def name(self) -> str:
        return str(self.attempts[0][0])


def compress(options: CompressOptions) -> dict[str, Any]:
    """Returns the record of the artifact."""
    tasks, mark = plan_candidates(options)
    store = options.store
    done = find_record(store, RECORD, mark)
    if done:
        say("compress", f"the artifact is there already: {done['bytes']} bytes")
        return done
    candidates: list[Candidate] = []
    with connected(options.ray, options.workers):
        for found in RayEngine(options.workers).map(run_task, tasks):
            candidates += found
            for candidate in found:
                _say_candidate(candidate, tasks[0].data.floor)
    kept = [task.kept for task in tasks]
    try:
        best = choose(candidates, tasks[0].data.floor, options.max_bytes)
    except InvalidArgumentError:  # none is within the budget, and none will be
        store.delete(kept)
        raise
    store.put(ARTIFACT, best.data)
    record = write_record(
        store, RECORD, mark, artifact=ARTIFACT, bytes=len(best.data), stages=best.name, bits=best.bits,
        nonzero=best.nonzero, score=best.score,
    )  # fmt: skip
    _record_statistics(options, tasks[0], best, candidates, mark)
    store.delete(kept)
    say("compress", f"{ARTIFACT}: {len(best.data)} bytes, a score of {best.score:.4f} on validation")
    return record


def plan_candidates(options: CompressOptions) -> tuple[list[CompressTask], str]:
    """A task for each way to begin, and the fingerprint of what they make."""
    recipe, store = load_recipe(options.recipe), options.store
    name, step = (DISTILLED, "distill") if recipe.student else (TEACHER, "train")
    own = (recipe.student or recipe.teacher).own
    student = need_record(store, f"checkpoints/{name}/record.json", step)
    taught, steps = taught_by(store, recipe), recipe.compress
    if options.max_drop >= 0:
        steps = replace(steps, max_drop=options.max_drop)
    steps = replace(steps, training=replace(steps.training, seed=options.seed))
    model = load_bundle(store, student["model"], own)
    data = Data(
        Source(options.split("train"), model.features, model.task, taught.scores),
        Source(options.split("validation"), model.features, model.task),
        taught.loss,
        score_of(student["validation"]) - steps.max_drop,
    )
    budget = {"max_bytes": options.max_bytes} if options.max_bytes else {}
    mark = fingerprint(student=student["fingerprint"], steps=asdict(steps), distill=asdict(recipe.distill), **budget)
    begun: dict[Stage, list[Attempt]] = {}
    for attempt in attempts(steps):
        begun.setdefault(attempt[0], []).append(attempt)
    given = data, steps.effort, options.seed
    curves = Curves(store, f"compress-{mark}") if options.tensorboard else None
    tasks = [
        CompressTask(store, student["model"], own, tuple(alike), *given, f"{_KEPT}/{mark}-{number}.json", curves)
        for number, alike in enumerate(begun.values())
    ]
    return tasks, mark


def run_task(task: CompressTask) -> list[Candidate]:
    """The candidates of the task: those that a killed run left, or made now."""
    if task.store.exists(task.kept):
        kept = json.loads(task.store.get(task.kept))
        return [Candidate.from_json(attempt, found) for attempt, found in zip(task.attempts, kept, strict=True)]
    torch.set_num_threads(1)
    torch.manual_seed(task.seed)
    found = compress_model(
        load_bundle(task.store, task.model, task.own), task.attempts, task.data, task.effort, task.curves
    )
    task.store.put(task.kept, json.dumps([candidate.to_json() for candidate in found]).encode())
    return found


def _say_candidate(candidate: Candidate, floor: float) -> None:
    over = ", over the budget" if candidate.score < floor else ""
    figures = f"{candidate.bits:.1f} bits in the mean: score {candidate.score:.4f}, {len(candidate.data)} bytes"
    say("compress", f"{candidate.name}; {figures}{over}")


def _record_statistics(
    options: CompressOptions, task: CompressTask, best: Candidate, candidates: Sequence[Candidate], mark: str
) -> None:
    """A row for each stage of the best, and one for each candidate."""
    model = load_bundle(task.store, task.model, task.own)
    common = {"parameters": count_parameters(model.module), "split": "validation"}
    score = score_name(model.metrics).lower()
    rows = [
        {"model": name, "stage": stage, "nonzero": made.nonzero, "bits": made.bits, "bytes": size, score: made.score}
        for name, stage, made, size in (
            *((CANDIDATE, made.name, made, len(made.data)) for made in candidates),
            *(("compressed", report.stage, report, report.bytes) for report in best.stages),
        )
    ]
    record_models(options, [{**common, **row} for row in rows], run=f"compress-{mark}")
    record_training(options, "student pruned", best.history, run=f"compress-{mark}")


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_options(CompressOptions, "compress", argv, __doc__ or "")
    with reported("compress"):
        compress(options)


if __name__ == "__main__":
    main(sys.argv[1:])
