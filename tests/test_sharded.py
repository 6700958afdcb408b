"""A network spread over two processes is trained as one that each has whole, and its checkpoints are the same files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import open_store
from mdlake.models import sharded
from mdlake.models.batches import ordered_batches
from mdlake.models.checkpoints import best_weights, load_checkpoint, save_checkpoint
from mdlake.models.training import Trainer, TrainingOptions, hard_loss, predict
from tests.sharded_worker import network_of, sources
from tests.tiny_models import delays, source_of, write_split

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Splits, one of 3 row groups, so that one worker has more to measure than the other."""
    folder = tmp_path_factory.mktemp("splits")
    train = source_of(write_split(folder / "train", delays(2000)))
    write_split(folder / "validation", delays(750, 1), files=1, row_group_size=250)
    (folder / "features.json").write_text(json.dumps(train.features.to_json()))
    return folder


def launch(folder: Path, *runs: str, world: int = 2) -> list[int]:
    """The exit codes of the workers."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'lib'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.sharded_worker"]
    meeting = tempfile.mktemp(dir=folder)
    started = [
        subprocess.Popen([*command, str(rank), str(world), meeting, str(folder), *runs], cwd=ROOT, env=environment)
        for rank in range(world)
    ]
    try:
        return [process.wait(timeout=120) for process in started]
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()


def run(name: str, mode: str, **options: Any) -> str:
    return f"{name}:{mode}:{json.dumps(options)}"


def ends(folder: Path, name: str) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    return best_weights(open_store(str(folder / "lake")), name, "f")


def near(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], within: float) -> bool:
    assert first.keys() == second.keys()
    return all(torch.allclose(first[name].float(), second[name].float(), atol=within) for name in first)


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"epochs": 2},
    "parts": {"epochs": 2, "accumulate": 3},
    "narrow": {"epochs": 2, "precision": "bfloat16"},
    "hinted": {"epochs": 2, "hints": 40},
}


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    modes = ("whole", "sharded")
    runs = [run(f"{name}-{mode}", mode, **OPTIONS[name]) for name in OPTIONS for mode in modes]
    assert launch(folder, *runs) == [0, 0]
    return folder


@pytest.mark.parametrize("name", OPTIONS)
def test_sharded_training_gives_the_weights_of_data_parallel_training(trained: Path, name: str) -> None:
    """Nearly: sums are taken in another order."""
    whole, rows = ends(trained, f"{name}-whole")
    spread, found = ends(trained, f"{name}-sharded")
    assert near(whole, spread, 1e-3)
    assert not near(whole, network_of(sources(trained)[0]).state_dict(), 2e-2)
    for row, other in zip(rows, found, strict=True):
        for key in ("train_loss", "loss", "auc"):
            assert row[key] == pytest.approx(other[key], abs=1e-3 if name == "narrow" else 1e-5)


def test_its_checkpoints_are_files_of_the_same_tensors(trained: Path) -> None:
    from mdlake.models.tensors import read_tensors

    store = open_store(str(trained / "lake"))
    whole, spread = (read_tensors(store, f"plain-{mode}/epoch-00002.safetensors")[0] for mode in ("whole", "sharded"))
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in whole.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in spread.items()
    }
    assert any(name.startswith("optimizer/") for name in whole) and near(whole, spread, 5e-3)


@pytest.mark.parametrize("mode", ["whole", "sharded"])
def test_its_weights_load_into_a_plain_module_and_answer_as_measured(trained: Path, mode: str) -> None:
    weights, history = ends(trained, f"plain-{mode}")
    train, validation = sources(trained)
    network = network_of(train)
    network.load_state_dict(weights)
    measured = validation.task.measure(*predict(network, ordered_batches(validation)))
    best = max(history, key=lambda row: row["auc"])
    assert measured.rows == len(predict(network, ordered_batches(validation))[1])
    assert measured.auc == pytest.approx(best["auc"], abs=1e-6)
    assert measured.loss == pytest.approx(best["loss"], abs=1e-5)


def test_a_killed_run_goes_on_with_as_many_workers_to_the_same_bits_and_with_fewer_nearly(trained: Path) -> None:
    killed = run("killed", "sharded", epochs=2, kill=1)
    assert launch(trained, killed) == [-signal.SIGKILL, -signal.SIGKILL]
    store = open_store(str(trained / "lake"))
    assert [info.path for info in store.list("killed")] == ["killed/epoch-00001.safetensors"]
    store.put("fewer/epoch-00001.safetensors", store.get("killed/epoch-00001.safetensors"))
    assert launch(trained, run("killed", "sharded", epochs=2)) == [0, 0]
    whole, _ = ends(trained, "plain-sharded")
    again, history = ends(trained, "killed")
    assert len(history) == 2 and near(whole, again, 0)
    train, validation = sources(trained)
    options = TrainingOptions(epochs=2, batch_size=64, learning_rate=1e-2, warmup_steps=5)
    alone = Trainer(network_of(train), train, validation, options, hard_loss, sharded=True)  # one worker: nothing to do
    assert not alone.sharded and load_checkpoint(store, "fewer", alone, "f") and alone.progress.epoch == 1
    for _ in alone.run():
        save_checkpoint(store, "fewer", alone, "f")
    assert ends(trained, "fewer")[1][-1]["auc"] == pytest.approx(history[-1]["auc"], abs=0.02)


def test_modules_that_read_their_parts_weights_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharded, "GROUP", 100)
    attention = nn.MultiheadAttention(8, 2)
    inner, outer = nn.Linear(10, 10), nn.Sequential(nn.Linear(4, 4), nn.Linear(12, 12))
    network = nn.Sequential(attention, nn.ModuleList([inner, nn.Linear(2, 2)]), outer)
    assert sharded._groups(network) == [attention, inner, outer[1]]


def test_a_parameter_that_cannot_be_sharded_is_named() -> None:
    network = nn.Linear(3, 3)
    network.register_parameter("warmth", nn.Parameter(torch.ones(())))
    with pytest.raises(InvalidArgumentError, match="the parameter warmth is one number"):
        sharded.shard(network, torch.device("cpu"))
