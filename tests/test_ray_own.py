"""A user's own network and inputs on a real local Ray, through all verbs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_curves import curves_of
from test_images import table

from mdlake.artifact import load_artifact
from mdlake.errors import InvalidArgumentError
from mdlake.models.scoring import logits_of
from ray_tasks import distill, evaluate, score, train
from ray_tasks.compress import ARTIFACT, CompressOptions, compress
from ray_tasks.distill import DistillOptions
from ray_tasks.evaluate import EvaluateOptions
from ray_tasks.score import ScoreOptions
from ray_tasks.train import TrainOptions
from tests.own_networks import INPUTS, NETWORK
from tests.tiny_models import write_split

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parent.parent

RECIPE = f"""
label = "label"
classes = 3
[teacher]
network = "{NETWORK}"
inputs = "{INPUTS}"
options = {{ hidden = 32 }}
training = {{ epochs = 6, batch_size = 32, learning_rate = 5e-3, warmup_steps = 5 }}
[student]
network = "tests.own_networks:plain"
image = {{ column = "image", shape = [1, 16, 16] }}
options = {{ hidden = 48 }}
training = {{ epochs = 5, batch_size = 32, learning_rate = 1e-2, warmup_steps = 5 }}
[compress]
max_drop = 0.2
training = {{ epochs = 1, batch_size = 32, learning_rate = 2e-3 }}
stages = [{{ use = "prune", sparsity = 0.2 }}, {{ use = "linear", bits = 8 }}]
"""


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = tmp_path_factory.mktemp("shards")
    for seed, (split, rows) in enumerate({"train": 900, "validation": 300, "test": 300}.items()):
        write_split(lake / "shards" / split, table(rows, seed))
    return lake


def write_recipe(folder: Path, text: str = RECIPE) -> str:
    path = folder / "own.toml"
    path.write_text(text)
    return str(path)


def test_every_verb_takes_them_from_the_recipe(shards: Path, tmp_path: Path, ray_cluster: Any) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(shards, lake)
    common: dict[str, Any] = {"lake": str(lake), "recipe": write_recipe(tmp_path)}
    trained = train.train(TrainOptions(**common, tensorboard=True))
    with pytest.raises(InvalidArgumentError, match=r"teacher was made by another recipe \(network was .*Lines"):
        score.score(ScoreOptions(lake=str(lake), recipe="flights"))
    score.score(ScoreOptions(**common))
    distill.distill(DistillOptions(**common, tensorboard=True))
    compress(CompressOptions(**common, tensorboard=True))
    evaluation = evaluate.evaluate(EvaluateOptions(**common))
    accuracy = {row["model"]: row["accuracy"] for row in evaluation["models"]}
    assert min(accuracy.values()) > 0.4 and accuracy["teacher"] > 0.8
    found = load_artifact(str(lake / ARTIFACT), model_class="tests.own_networks:plain")
    test = table(300, 2)
    right = (logits_of(found, test).argmax(1).numpy() == test["label"].to_numpy()).mean()
    assert right == pytest.approx(accuracy["artifact"])
    curves = {str(path.parent.relative_to(lake)): curves_of(path.read_bytes()) for path in lake.rglob("*tfevents*")}
    assert sorted(re.sub("-[0-9a-f]{16}", "", run) for run in curves) == [
        f"tensorboard/{run}"
        for run in ("compress/prune_0.2", "compress/prune_0.2_linear_8", "student_alone", "student_distilled", "train")
    ]
    (teacher,) = (found for run, found in curves.items() if run.startswith("tensorboard/train"))
    assert [epoch for epoch, _ in teacher["validation/accuracy"]] == [1, 2, 3, 4, 5, 6]
    assert max(score for _, score in teacher["validation/accuracy"]) == pytest.approx(trained["validation"]["accuracy"])
    other = RECIPE.replace("own_networks:plain", "own_networks:short")
    with pytest.raises(InvalidArgumentError, match=r"made by another recipe \(network was .*plain\", is .*short"):
        compress(CompressOptions(lake=str(lake), recipe=write_recipe(tmp_path, other)))


def test_on_the_command_line_modules_of_the_current_directory_are_found(shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, tmp_path / "lake")
    (tmp_path / "mine.py").write_text("from tests.own_networks import Lines as Network\n")
    recipe = write_recipe(tmp_path, RECIPE.replace(NETWORK, "mine:Network").replace("epochs = 6", "epochs = 1"))
    told = subprocess.run(
        [sys.executable, "-m", "ray_tasks.train", "--lake", "lake", "--recipe", recipe],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'lib'}"}, capture_output=True, timeout=300,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr.decode()
    assert (tmp_path / "lake" / "checkpoints" / "teacher" / "model.safetensors").exists()


def test_a_network_spread_over_the_workers_is_trained_and_known_to_any_number(
    shards: Path, tmp_path: Path, ray_cluster: Any, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(shards, tmp_path / "lake")
    common: dict[str, Any] = {"lake": str(tmp_path / "lake"), "recipe": write_recipe(tmp_path), "sharded": True}
    assert train.train(TrainOptions(**common, workers=2))["validation"]["accuracy"] > 0.8
    train.train(TrainOptions(**common, workers=1))
    assert "is trained already" in capsys.readouterr().out


def test_one_that_answers_wrongly_or_is_not_there_ends_training_at_once(
    shards: Path, tmp_path: Path, ray_cluster: Any
) -> None:
    shutil.copytree(shards, tmp_path / "lake")
    for network, message in (
        ("tests.own_networks:short", "cannot take what the inputs give"),
        ("no_such_module:Network", "it must be importable on every worker"),
    ):
        recipe = write_recipe(tmp_path, RECIPE.replace(NETWORK, network))
        with pytest.raises(InvalidArgumentError, match=message):
            train.train(TrainOptions(lake=str(tmp_path / "lake"), recipe=recipe))
