"""Images of classes on a real local Ray: a network is trained and made small, without a student, from an archive."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_images import table

import mdlake
from mdlake.artifact import load_artifact
from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import open_store
from mdlake.models.bundle import load_bundle
from mdlake.models.images import ImageSpec
from mdlake.models.opening import open_shards
from mdlake.models.scoring import logits_of
from mdlake.statistics import read
from ray_tasks import distill, evaluate, score, train
from ray_tasks.compress import ARTIFACT, CompressOptions, compress, plan_search, run_task
from ray_tasks.distill import DistillOptions
from ray_tasks.evaluate import EvaluateOptions
from ray_tasks.recipe import load_recipe
from ray_tasks.score import ScoreOptions, plan_scores
from ray_tasks.train import TrainOptions

pytestmark = pytest.mark.ray

RECIPE = """
label = "label"
classes = 3
[teacher]
network = "lenet_5"
image = { column = "image", shape = [1, 16, 16], normalize = true }
options = { size = 16, filters = [4, 6], hidden = 12, outputs = 3 }
training = { epochs = 4, batch_size = 32, learning_rate = 5e-3, warmup_steps = 5 }
[compress]
max_drop = 0.3
training = { epochs = 1, batch_size = 32, learning_rate = 2e-3, weight_decay = 0.0 }
stages = [
    { use = "prune", sparsity = [0.5, 0.7], score = "lamp", biases = true, ramp_epochs = 1 },
    { use = "codebook", entries = [4, 6], aware = { epochs = 1 } },
]
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "stripes.toml"
    path.write_text(RECIPE)
    return str(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, recipe: str, ray_cluster: Any) -> Path:
    """A lake whose splits are archives, with a trained and scored network."""
    lake = tmp_path_factory.mktemp("lake")
    for seed, (split, rows) in enumerate({"train": 900, "validation": 300, "test": 300}.items()):
        mdlake.encode(table(rows, seed), lake / "shards" / split, "fast", rows_per_block=300)
    train.train(TrainOptions(lake=str(lake), recipe=recipe, workers=1))
    score.score(ScoreOptions(lake=str(lake), recipe=recipe))
    return lake


def test_one_worker_or_two_make_the_same_artifact_and_a_killed_run_goes_on(
    trained: Path, recipe: str, tmp_path: Path
) -> None:
    made = []
    for workers in (1, 2):
        lake = tmp_path / str(workers)
        shutil.copytree(trained, lake)
        options = CompressOptions(lake=str(lake), recipe=recipe, workers=workers)
        if workers == 2:  # the driver was killed after the first task
            plan = plan_search(options)
            tasks = plan.tasks(plan.start.attempts)
            assert len(tasks) == 2 and run_task(tasks[0]) and (lake / tasks[0].kept).exists()
        compress(options)
        assert not list(lake.glob("artifacts/candidates/*"))
        made.append((lake / ARTIFACT).read_bytes())
    assert made[0] == made[1]
    evaluation = evaluate.evaluate(EvaluateOptions(lake=str(lake), recipe=recipe))
    accuracy = {row["model"]: row["accuracy"] for row in evaluation["models"]}
    assert accuracy.keys() == {"teacher", "artifact"} and min(accuracy.values()) > 0.6
    found = load_artifact(str(lake / ARTIFACT))
    assert isinstance(found.features, ImageSpec) and found.features.mean
    test = table(300, 2)
    right = (logits_of(found, test).argmax(1).numpy() == test["label"].to_numpy()).mean()
    assert right == pytest.approx(accuracy["artifact"])


def test_a_budget_that_was_not_met_costs_nothing_twice(
    trained: Path, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever allows more gets the candidates that there are; those given up too early are made again."""
    strict, lake = tmp_path / "strict.toml", tmp_path / "lake"
    strict.write_text(Path(recipe).read_text().replace("max_drop = 0.3", "max_drop = -0.9\ngive_up = 2.0"))
    shutil.copytree(trained, lake)
    given: dict[str, Any] = {"lake": str(lake), "recipe": str(strict), "workers": 1}
    with pytest.raises(InvalidArgumentError, match="raise max_drop"):
        compress(CompressOptions(**given))
    assert not (lake / ARTIFACT).exists()

    def trains(*args: object, **more: object) -> None:
        raise AssertionError("it is made again")

    monkeypatch.setattr("ray_tasks.compress.compress_model", trains)
    plan = plan_search(CompressOptions(**given, max_drop=0.5))
    found = [made for task in plan.tasks(plan.start.attempts) for made in run_task(task)]
    assert len(found) == 4 and all(made.whole for made in found)
    task = plan.tasks(plan.start.attempts)[0]
    with pytest.raises(AssertionError, match="made again"):
        run_task(replace(task, give_up=-2.0))
    assert compress(CompressOptions(**given, max_drop=0.9))["bytes"] == min(len(made.data) for made in found)
    assert not list(lake.glob("artifacts/candidates/*"))


def test_the_highest_scores_alone_are_other_scores(trained: Path, recipe: str) -> None:
    made = load_recipe(recipe)
    store = open_store(str(trained))
    shards = open_shards(str(trained / "shards" / "train"))
    whole, some = plan_scores(store, shards, made), plan_scores(store, shards, made, top=1)
    assert whole.folder != some.folder and not whole.tasks
    assert [task.top for task in some.tasks] == [1] * some.files
    with pytest.raises(InvalidArgumentError, match="1 or more, or 0 for all, not -1"):
        plan_scores(store, shards, made, top=-1)


def test_a_recipe_without_a_student_has_nothing_to_distill(trained: Path, recipe: str) -> None:
    with pytest.raises(InvalidArgumentError, match="the recipe has no student"):
        distill.distill(DistillOptions(lake=str(trained), recipe=recipe))


STUDENT = """
[student]
network = "lenet_5"
image = { column = "image", shape = [1, 16, 16], normalize = true }
options = { size = 16, filters = [6, 8], hidden = 16, outputs = 3 }
training = { epochs = 6, batch_size = 32, learning_rate = 5e-3, warmup_steps = 5, augment = { shift = 1 } }
[distill]
asked = true
temperature = [1.0, 4.0]
[compress]
max_drop = 0.4
against = "alone"
refine = 1
training = { epochs = 1, batch_size = 32, learning_rate = 2e-3, weight_decay = 0.0, augment = { shift = 1 } }
stages = [
    { use = "cut", share = 0.8, of = "parameters" },
    { use = "prune", sparsity = [0.3, 0.97] },
]
"""


def test_a_student_learns_from_another_lake_s_teacher_by_asking_and_the_search_goes_on(
    trained: Path, recipe: str, tmp_path: Path
) -> None:
    """Its own lake has no scores; the better way to teach is kept; another run finds everything done."""
    path = tmp_path / "student.toml"
    path.write_text(Path(recipe).read_text().partition("[compress]")[0] + STUDENT)
    given: dict[str, Any] = {"lake": str(tmp_path / "lake"), "shards": str(trained / "shards")}
    given |= {"teacher": str(trained), "recipe": str(path), "workers": 1}
    records = distill.distill(DistillOptions(**given))
    assert min(record["validation"]["accuracy"] for record in records.values()) > 0.4
    folders = [path.name for path in (tmp_path / "lake" / "checkpoints").iterdir() if any(path.iterdir())]
    assert sorted(folders) == ["student_alone", "student_distilled"]
    trained_ways = [row for row in read(str(tmp_path / "lake" / "stats"), "training").to_pylist() if row["epoch"] == 6]
    scores = {row["model"]: row["accuracy"] for row in trained_ways}
    assert scores.keys() == {"student alone", "student distilled 1", "student distilled 2"}
    best = records["student_distilled"]
    assert best["validation"]["accuracy"] >= max(scores["student distilled 1"], scores["student distilled 2"]) - 1e-6
    assert best["distill"]["temperature"] in (1.0, 4.0)
    assert distill.distill(DistillOptions(**given)) == records
    record = compress(CompressOptions(**given, explain=True))
    candidates = [row["stage"] for row in read(str(tmp_path / "lake" / "stats"), "models").to_pylist()]
    assert "cut 0.8, prune 0.635" in candidates or record["stages"] == "cut 0.8, prune 0.97"
    layers = read(str(tmp_path / "lake" / "stats"), "layers").to_pylist()
    assert {row["stage"] for row in layers} == {"dense", *record["stages"].split(", ")}
    evaluation = evaluate.evaluate(EvaluateOptions(**given))
    assert [row["model"] for row in evaluation["models"]] == [
        "teacher",
        "student alone",
        "student distilled",
        "artifact",
    ]
    assert evaluation["models"][3]["parameters"] < 0.85 * evaluation["models"][2]["parameters"]
    assert compress(CompressOptions(**given, explain=True)) == record
    assert not (tmp_path / "lake" / "scores").exists() and not (tmp_path / "lake" / "checkpoints" / "teacher").exists()
    with pytest.raises(InvalidArgumentError, match="train has not finished here"):
        distill.distill(DistillOptions(**{**given, "teacher": str(tmp_path / "nothing")}))


def test_a_student_without_data_learns_from_its_teacher_by_one_worker(
    trained: Path, recipe: str, tmp_path: Path
) -> None:
    """Its record names the teacher, and it is the same whatever the number of workers."""
    text = Path(recipe).read_text().partition("[compress]")[0] + STUDENT.partition("[distill]")[0]
    path = tmp_path / "student.toml"
    path.write_text(text + "data_free = { rounds = 6, every = 3, batch_size = 16, width = 4 }\n")
    given: dict[str, Any] = {"lake": str(tmp_path / "lake"), "shards": str(trained / "shards")}
    given |= {"teacher": str(trained), "recipe": str(path)}
    record = distill.distill(DistillOptions(**given, workers=2))["student_distilled"]
    assert [row["step"] for row in record["history"]] == [15, 30]
    bundle = load_bundle(open_store(given["lake"]), record["model"])
    assert (
        bundle.lineage["teacher"]
        == json.loads((trained / "checkpoints/teacher/record.json").read_text())["fingerprint"]
    )
    assert distill.distill(DistillOptions(**given, workers=1))["student_distilled"] == record
