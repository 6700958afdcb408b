"""Measures teacher, both students and the artifact on the test split, which nothing opened before.

    python -m ray_tasks.evaluate --lake URL [--workers 2] [--ray ADDRESS]

The artifact is loaded back from its bytes, as any user would.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from mdlake.artifact import load_artifact
from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import Store
from mdlake.models.batches import Batch, Source, first_rows, ordered_batches
from mdlake.models.bundle import Model, load_bundle
from mdlake.models.latency import latency
from mdlake.models.metrics import score_of
from mdlake.models.networks import count_parameters
from mdlake.models.own import Own
from mdlake.models.records import find_record, fingerprint, write_record
from mdlake.models.shards import Shards
from mdlake.models.training import predict
from mdlake.shrink.distill.loss import gap_closed
from mdlake.shrink.prune import count_nonzero
from mdlake.shrink.structured.macs import macs
from ray_tasks.compress import need_artifact
from ray_tasks.engine import RayEngine
from ray_tasks.figures import record_models
from ray_tasks.options import CommonOptions, parse_options, storage_options
from ray_tasks.recipe import load_recipe
from ray_tasks.session import connected
from ray_tasks.show import quality, reported, say
from ray_tasks.students import chosen_way
from ray_tasks.trained import ALONE, DISTILLED, TEACHER, need_trained

RECORD = "artifacts/evaluation.json"
_TIMES = {"latency_ms": 1, "batch_latency_ms": 256}  # milliseconds for so many rows
_STAGES = {TEACHER: "train", ALONE: "train", DISTILLED: "distill", "artifact": "artifact"}


@dataclass(frozen=True)
class EvaluateOptions(CommonOptions):
    pass


@dataclass(frozen=True)
class EvaluateTask:
    """Measure one model; `path` is a bundle, or the artifact with its mean bits."""

    name: str
    store: Store
    path: str
    own: Own
    bytes: int
    bits: float
    shards: Shards
    storage: dict[str, str] | None


def evaluate(options: EvaluateOptions) -> dict[str, Any]:
    """Returns the record: a row per model, and the share of the gap that distillation closed."""
    tasks, mark = plan_evaluation(options)
    store = options.store
    record = find_record(store, RECORD, mark)
    if record:
        say("evaluate", "all models are measured already")
    else:
        with connected(options.ray, options.workers):
            rows = list(RayEngine(options.workers).map(run_evaluation, tasks))
        score = {row["model"]: score_of(row) for row in rows}
        students = [score[name.replace("_", " ")] for name in (ALONE, DISTILLED) if len(score) > 2]
        closed = gap_closed(score[TEACHER], *students) if students else None
        untimed = [{key: value for key, value in row.items() if key not in _TIMES} for row in rows]
        record = write_record(store, RECORD, mark, models=untimed, gap_closed=closed)
        record_models(options, rows, run=f"evaluate-{mark}")
    for row in record["models"]:
        macs = f"{row['macs']:>9} MACs " if "macs" in row else ""  # older records lack them
        say(
            "evaluate",
            f"{row['model']:<18} {row['parameters']:>9} parameters {macs}{row['bytes']:>9} bytes  test: {quality(row)}",
        )
    if record["gap_closed"] is not None:
        say("evaluate", f"distillation closed {record['gap_closed']:.0%} of the gap to the teacher")
    return record


def plan_evaluation(options: EvaluateOptions) -> tuple[list[EvaluateTask], str]:
    """A task per model, and the fingerprint of what they will find."""
    store, shards = options.store, options.split("test")
    storage = storage_options(options.lake)
    recipe = load_recipe(options.recipe)
    names = (TEACHER, ALONE, DISTILLED) if recipe.student else (TEACHER,)
    last = (recipe.student or recipe.teacher).own
    places = {TEACHER: options.teacher_store, ALONE: store, DISTILLED: store}
    records = {name: need_trained(places[name], name, recipe) for name in names}
    tasks = [
        EvaluateTask(
            *(name, places[name], record["model"], recipe.teacher.own if name == TEACHER else last),
            *(record["bytes"], 32.0, shards, storage),
        )
        for name, record in records.items()
    ]
    whole = records[DISTILLED if recipe.student else TEACHER]
    if recipe.student:
        chosen_way(recipe, whole)
    artifact = need_artifact(store, recipe, whole["fingerprint"])
    tasks.append(
        EvaluateTask(
            *("artifact", store, artifact["artifact"], last),
            *(artifact["bytes"], artifact["bits"], shards, storage),
        )
    )
    marks = [record["fingerprint"] for record in (*records.values(), artifact)]
    return tasks, fingerprint(models=marks, test=shards.fingerprint)


def run_evaluation(task: EvaluateTask) -> dict[str, Any]:
    """A row of the statistics `models`; the record has it without times, which are never the same twice."""
    torch.set_num_threads(1)
    model = _load(task)
    source = Source(task.shards, model.features, model.task)
    first = first_rows(source, max(_TIMES.values()))
    if first is None:
        raise InvalidArgumentError("no row of the test split has a label", url=task.shards.store.url)
    measured = model.task.measure(*predict(model.module, ordered_batches(source)))
    return {
        "model": task.name.replace("_", " "),
        "stage": _STAGES[task.name],
        "parameters": count_parameters(model.module),
        "nonzero": count_nonzero(model.module),
        "bits": task.bits,
        "bytes": task.bytes,
        "split": "test",
        "macs": macs(model.module, _rows(first, 1)),
        **{name: round(1e3 * latency(model.module, _rows(first, count)), 4) for name, count in _TIMES.items()},
        **{key: value for key, value in asdict(measured).items() if key in ("auc", "accuracy")},
    }


def _rows(batch: Batch, count: int) -> tuple[torch.Tensor, ...]:
    """So many rows of the batch, over and over if it has fewer."""
    return tuple(tensor[torch.arange(count) % len(tensor)] for tensor in batch.inputs)


def _load(task: EvaluateTask) -> Model:
    if task.name == "artifact":
        return load_artifact(
            task.store.url_of(task.path), task.storage, model_class=task.own.network, inputs=task.own.inputs
        )
    return load_bundle(task.store, task.path, task.own)


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_options(EvaluateOptions, "evaluate", argv, __doc__ or "")
    with reported("evaluate"):
        evaluate(options)


if __name__ == "__main__":
    main(sys.argv[1:])
