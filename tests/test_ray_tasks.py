"""The five verbs on a real local Ray, on a few thousand flights: each does its work once, and survives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mdlake.artifact import load_artifact
from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import open_store
from mdlake.models.bundle import load_bundle
from mdlake.models.checkpoints import best_epoch
from mdlake.shrink.structured.macs import macs_per_row
from mdlake.statistics import read
from ray_tasks import distill, evaluate, score, train
from ray_tasks.compress import CompressOptions, compress
from ray_tasks.distill import DistillOptions
from ray_tasks.engine import RayEngine
from ray_tasks.evaluate import EvaluateOptions
from ray_tasks.options import parse_options, storage_options
from ray_tasks.score import ScoreOptions
from ray_tasks.train import TrainOptions
from tests.flights_shards import flights, write_shards

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parent.parent

RECIPE = """
label = "arr_delay > 15"
[teacher]
network = "tabular_mlp"
numeric = ["hour", "minute", "distance"]
categories = { "month*day" = 16, origin = 4, dest = 8 }
options = { hidden = [64, 32] }
training = { epochs = 3, batch_size = 512, learning_rate = 1e-2 }
[student]
network = "tabular_mlp"
numeric = ["hour", "minute"]
categories = { "month*day" = 2, origin = 2 }
options = { hidden = [8] }
training = { epochs = 3, batch_size = 512, learning_rate = 2e-2 }
[distill]
temperature = 1.0
soft = 0.9
[compress]
max_drop = 0.02
training = { epochs = 1, batch_size = 512 }
stages = [{ use = "prune", sparsity = [0.1, 0.3] }, { use = "linear", bits = 8 }]
"""


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with shards of the first 12,000 flights and nothing else."""
    return write_shards(tmp_path_factory.mktemp("shards"), flights().slice(0, 12_000), files=3)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return str(path)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, shards: Path, recipe: str, ray_cluster: Any) -> Path:
    """A lake in which all verbs have run; the test split was put there only for the last."""
    lake = tmp_path_factory.mktemp("lake")
    shutil.copytree(shards / "shards", lake / "shards")
    shutil.move(lake / "shards" / "test", lake / "test")
    common: dict[str, Any] = {"lake": str(lake), "recipe": recipe}
    train.train(TrainOptions(**common))
    score.score(ScoreOptions(**common))
    distill.distill(DistillOptions(**common))
    compress(CompressOptions(**common))
    with pytest.raises(Exception, match="shards/test"):
        evaluate.evaluate(EvaluateOptions(**common))
    shutil.move(lake / "test", lake / "shards" / "test")
    evaluate.evaluate(EvaluateOptions(**common))
    return lake


def options_of(kind: type, lake: Path, recipe: str, **more: Any) -> Any:
    return kind(lake=str(lake), recipe=recipe, **more)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_verb_finds_its_work_done(lake: Path, recipe: str, capsys: pytest.CaptureFixture) -> None:
    before = contents(lake)
    train.train(options_of(TrainOptions, lake, recipe))
    score.score(options_of(ScoreOptions, lake, recipe))
    distill.distill(options_of(DistillOptions, lake, recipe))
    compress(options_of(CompressOptions, lake, recipe))
    evaluate.evaluate(options_of(EvaluateOptions, lake, recipe))
    assert contents(lake) == before
    said = capsys.readouterr().out
    for text in (
        "is trained already",
        "scored already",
        "students are trained",
        "is there already",
        "measured already",
    ):
        assert text in said


def test_nothing_half_done_is_left(lake: Path) -> None:
    left = {path for path in contents(lake) if not path.startswith(("shards/", "stats/", "scores/"))}
    models = {f"checkpoints/{name}/{file}" for name in ("teacher", "student_alone", "student_distilled")
              for file in ("model.safetensors", "record.json")}  # fmt: skip
    assert left == models | {f"artifacts/{file}" for file in ("student.safetensors", "student.json", "evaluation.json")}


def test_the_model_is_the_best_epoch_on_validation(lake: Path) -> None:
    for name in ("teacher", "student_alone", "student_distilled"):
        record = json.loads((lake / "checkpoints" / name / "record.json").read_text())
        assert len(record["history"]) == 3
        assert record["validation"]["auc"] == pytest.approx(max(row["auc"] for row in record["history"]), abs=1e-6)
        assert record["validation"]["epoch"] == best_epoch(record["history"])


def test_scores_are_the_teachers_logits_row_for_row(lake: Path) -> None:
    teacher = load_bundle(open_store(str(lake)), "checkpoints/teacher/model.safetensors")
    folder = lake / json.loads((lake / "scores" / "record.json").read_text())["folder"]
    from mdlake.models.scoring import logits_of

    for path in sorted((lake / "shards" / "train").iterdir()):
        scores = pq.read_table(folder / path.name)["logit"].to_numpy()
        expected = logits_of(teacher, pq.read_table(path, columns=teacher.features.columns)).numpy()
        assert scores == pytest.approx(expected, abs=1e-5)


def test_scores_do_not_depend_on_the_number_of_workers(lake: Path, recipe: str, tmp_path: Path) -> None:
    for workers in (1, 2):
        copy = tmp_path / str(workers)
        for part in ("shards", "checkpoints"):
            shutil.copytree(lake / part, copy / part)
        score.score(options_of(ScoreOptions, copy, recipe, workers=workers))
    assert contents(tmp_path / "1" / "scores") == contents(tmp_path / "2" / "scores") == contents(lake / "scores")


def test_scoring_continues_with_the_files_that_are_left(
    lake: Path, recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for part in ("shards", "checkpoints", "scores"):
        shutil.copytree(lake / part, tmp_path / part)
    (tmp_path / "scores" / "record.json").unlink()
    sorted(tmp_path.glob("scores/*/train/*.parquet"))[1].unlink()
    score.score(options_of(ScoreOptions, tmp_path, recipe))
    assert contents(tmp_path / "scores") == contents(lake / "scores")
    assert "in 3 files, 1 of them now" in capsys.readouterr().out


def test_the_artifact_does_not_depend_on_the_number_of_workers(lake: Path, recipe: str, tmp_path: Path) -> None:
    for part in ("shards", "checkpoints", "scores"):
        shutil.copytree(lake / part, tmp_path / part)
    shutil.rmtree(tmp_path / "shards" / "test")
    compress(options_of(CompressOptions, tmp_path, recipe, workers=1))
    assert contents(tmp_path / "artifacts") == {
        path: data for path, data in contents(lake / "artifacts").items() if path != "evaluation.json"
    }


def test_what_was_evaluated_is_what_the_artifact_holds(lake: Path) -> None:
    record = json.loads((lake / "artifacts" / "evaluation.json").read_text())
    rows = {row["model"]: row for row in record["models"]}
    assert set(rows) == {"teacher", "student alone", "student distilled", "artifact"}
    path = lake / "artifacts" / "student.safetensors"
    assert rows["artifact"]["bytes"] == path.stat().st_size
    assert rows["artifact"]["parameters"] == rows["student distilled"]["parameters"]
    loaded = load_artifact(str(path))
    assert rows["artifact"]["nonzero"] == sum(int(p.count_nonzero()) for p in loaded.module.parameters())
    assert all(0.5 < row["auc"] < 1 for row in rows.values())
    assert rows["teacher"]["macs"] > rows["artifact"]["macs"] == macs_per_row(load_artifact(str(path)))
    assert "latency_ms" not in rows["artifact"]  # a record has no times


def test_statistics_have_every_epoch_and_every_model(lake: Path) -> None:
    training = read(str(lake / "stats"), "training").to_pylist()
    for model, epochs in {"teacher": 3, "student alone": 3, "student distilled": 3, "student pruned": 2}.items():
        for split in ("train", "validation"):
            found = [row["epoch"] for row in training if (row["model"], row["split"]) == (model, split)]
            assert found == list(range(1, epochs + 1))
    models = read(str(lake / "stats"), "models").to_pylist()
    tried = {f"prune {share}, linear 8" for share in (0.1, 0.3)}
    assert {row["stage"] for row in models if row["model"] == "candidate"} == tried
    measured = [row for row in models if row["split"] == "test"]
    assert {row["stage"] for row in measured} == {"train", "distill", "artifact"}
    assert all(row["macs"] > 0 and row["latency_ms"] > 0 and row["batch_latency_ms"] > 0 for row in measured)
    assert [row["stage"].split()[0] for row in models if row["model"] == "compressed"] == ["prune", "linear"]


def test_an_option_that_changes_is_new_work(lake: Path, recipe: str, tmp_path: Path) -> None:
    changed = tmp_path / "other.toml"
    changed.write_text(RECIPE.replace("hidden = [64, 32]", "hidden = [64, 16]"))
    first = train.plan_training(options_of(TrainOptions, lake, recipe), *_teacher(recipe))
    second = train.plan_training(options_of(TrainOptions, lake, str(changed)), *_teacher(str(changed)))
    assert first.fingerprint != second.fingerprint
    assert replace(first, training=replace(first.training, seed=1)).fingerprint != first.fingerprint


def _teacher(recipe: str) -> tuple[Any, Any]:
    loaded = train.load_recipe(recipe)
    return loaded, loaded.teacher


def test_a_killed_worker_is_replaced_and_training_ends_as_if_nothing_had_happened(
    lake: Path, recipe: str, tmp_path: Path
) -> None:
    """Kill -9 of a training worker after the first checkpoint: the same weights, bit for bit."""
    shutil.copytree(lake / "shards", tmp_path / "shards")
    log = tmp_path / "log"
    with log.open("w") as sink:
        run = subprocess.Popen(
            [sys.executable, "-m", "ray_tasks.train", "--lake", str(tmp_path), "--recipe", recipe],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'lib'}"}, stdout=sink, stderr=sink,
        )  # fmt: skip
    try:
        _await(lambda: list(tmp_path.glob("checkpoints/teacher/epoch-00001.safetensors")), run, log)
        victim = _train_workers(run.pid)[0]
        os.kill(victim, signal.SIGKILL)
        assert run.wait(timeout=180) == 0, log.read_text()
    finally:
        if run.poll() is None:
            run.kill()
    assert contents(tmp_path / "checkpoints") == {
        path.removeprefix("checkpoints/"): data
        for path, data in contents(lake).items()
        if path.startswith("checkpoints/teacher/")
    }, log.read_text()


def _await(condition: Any, run: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert run.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def _train_workers(driver: int) -> list[int]:
    """The processes of Ray Train's workers below the driver."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
                names[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            children.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(folder.name))
    below, left = [], [driver]
    while left:
        pid = left.pop()
        below.append(pid)
        left += children.get(pid, [])
    return [pid for pid in below if "RayTrainWorker" in names.get(pid, "")]


def test_an_error_of_the_library_comes_back_as_itself_and_at_once(lake: Path, recipe: str, tmp_path: Path) -> None:
    wild = tmp_path / "wild.toml"
    wild.write_text(RECIPE.replace("learning_rate = 1e-2", "learning_rate = 1e30, warmup_steps = 1", 1))
    shutil.copytree(lake / "shards", tmp_path / "lake" / "shards")
    with pytest.raises(InvalidArgumentError, match="loss is not a finite number"):
        train.train(options_of(TrainOptions, tmp_path / "lake", str(wild)))
    assert not (tmp_path / "lake" / "checkpoints" / "teacher" / "record.json").exists()


def test_shards_without_the_label_are_named(lake: Path, recipe: str, tmp_path: Path) -> None:
    shutil.copytree(lake / "shards", tmp_path / "shards")
    path = next((tmp_path / "shards" / "validation").iterdir())
    pq.write_table(pq.read_table(path).drop_columns(["arr_delay"]), path)
    with pytest.raises(InvalidArgumentError, match=r"validation/part-.*'arr_delay'"):
        train.train(options_of(TrainOptions, tmp_path, recipe))


def test_steps_out_of_order_say_which_comes_first(shards: Path, recipe: str, ray_cluster: Any) -> None:
    for verb, kind, missing in (
        (score.score, ScoreOptions, "train"),
        (distill.distill, DistillOptions, "train"),
        (compress, CompressOptions, "distill"),
        (evaluate.evaluate, EvaluateOptions, "train"),
    ):
        with pytest.raises(InvalidArgumentError, match=rf"ray_tasks\.{missing}` first"):
            verb(options_of(kind, shards, recipe))


def test_on_the_command_line_an_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        score.main(["--lake", str(tmp_path / "none")])
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("score: ") and "nothing is there" in error and error.count("\n") == 1


def test_options_come_from_a_file_and_flags_win(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "options.toml"
    file.write_text("[compress]\nworkers = 3\nseed = 7\nmax_drop = 1\n[train]\ngpus = true\n")
    chosen = parse_options(CompressOptions, "compress", ["--options", str(file), "--seed", "9"], "")
    assert chosen == CompressOptions(workers=3, seed=9, max_drop=1.0)
    assert parse_options(TrainOptions, "train", ["--options", str(file)], "").gpus
    for wrong, message in (("worker = 3", "no such option: worker"), ('workers = "x"', "workers must be int, not 'x'")):
        file.write_text(wrong)
        with pytest.raises(SystemExit):
            parse_options(TrainOptions, "train", ["--options", str(file)], "")
        assert message in capsys.readouterr().err


def test_a_budget_that_cannot_be_met_says_what_was_reached(lake: Path, tmp_path: Path) -> None:
    harsh = tmp_path / "harsh.toml"
    harsh.write_text(RECIPE.replace("[0.1, 0.3]", "[0.95]"))
    for part in ("shards", "checkpoints", "scores"):
        shutil.copytree(lake / part, tmp_path / "lake" / part)
    with pytest.raises(InvalidArgumentError, match="the best was"):
        compress(options_of(CompressOptions, tmp_path / "lake", str(harsh), max_drop=0.0))
    left = [path.parent.name for path in (tmp_path / "lake" / "artifacts").rglob("*") if path.is_file()]
    assert set(left) == {"candidates"}  # for a run that allows more


def test_the_engine_keeps_task_order_and_passes_errors_on(ray_cluster: Any) -> None:
    engine = RayEngine(2)
    assert list(engine.map(_square, range(7))) == [n * n for n in range(7)]
    assert list(engine.map_with(_ten, _add, range(5))) == [10, 11, 12, 13, 14]
    with pytest.raises(InvalidArgumentError, match="three"):
        list(engine.map(_refuse_three, range(5)))


def _square(number: int) -> int:
    time.sleep(0.05 * (number % 2))
    return number * number


def _ten() -> int:
    return 10


def _add(state: int, number: int) -> int:
    return state + number


def _refuse_three(number: int) -> int:
    if number == 3:
        raise InvalidArgumentError("three is refused")
    return number


@pytest.mark.s3
def test_the_chain_runs_on_an_object_store(lake: Path, recipe: str, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards, scores and the record on S3; credentials reach the workers inside the tasks alone."""
    url = f"{s3.bucket()}/lake"
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    store = open_store(url)
    for path, data in contents(lake).items():
        if path.startswith(("shards/train", "checkpoints/teacher")):
            store.put(path, data)
    score.score(ScoreOptions(lake=url, recipe=recipe))
    for path, data in contents(lake / "scores").items():
        assert store.get(f"scores/{path}") == data
        assert s3.options["secret_access_key"].encode() not in data


def test_only_storage_settings_are_carried_and_only_to_s3() -> None:
    environment = {"AWS_ACCESS_KEY_ID": "k", "AWS_REGION": "", "AWS_PROFILE": "p", "HOME": "/h"}
    assert storage_options("s3://bucket", environment) == {"aws_access_key_id": "k"}
    assert storage_options("/folder", environment) is None
