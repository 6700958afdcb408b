"""Data-parallel training on Ray Train: the spread step of `train` and `distill`.

Each worker runs `mdlake.models.training` over its share of the shards; torch's collectives (NCCL where there
are GPUs, else gloo) average the gradients. After each epoch the first worker writes a checkpoint to the
lake, and figures go to whoever shows them. When a worker dies, Ray Train starts the group again, and it
continues from the checkpoint.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import ray
import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer, get_device

from mdlake.engine import TaskError
from mdlake.errors import CorruptError, InvalidArgumentError, UnsupportedVersionError
from mdlake.lake.store import Store
from mdlake.models.batches import Source
from mdlake.models.bundle import MODEL_FILE, Model, save_bundle
from mdlake.models.checkpoints import (
    best_epoch,
    best_weights,
    load_checkpoint,
    remove_checkpoints,
    save_checkpoint,
)
from mdlake.models.networks import build_network, count_parameters
from mdlake.models.records import fingerprint, write_record
from mdlake.models.training import Loss, Trainer, TrainingOptions
from ray_tasks.board import Show, watched

_MAX_FAILURES = 3


@dataclass(frozen=True)
class TrainPlan:
    """One training: which network, on what, how, and where its checkpoints and its result go.

    `inputs` names what the data came from, for the fingerprint.
    """

    name: str
    store: Store
    network: str
    network_options: dict[str, Any]
    train: Source
    validation: Source
    training: TrainingOptions
    loss: Loss
    workers: int
    inputs: dict[str, Any]

    @property
    def folder(self) -> str:
        return f"checkpoints/{self.name}"

    @property
    def record(self) -> str:
        return f"{self.folder}/record.json"

    @property
    def fingerprint(self) -> str:
        """Changes with anything that changes the weights."""
        return fingerprint(
            network=self.network,
            options=self.network_options,
            features=self.train.features.to_json(),
            label=self.train.task.label,
            train=self.train.shards.fingerprint,
            validation=self.validation.shards.fingerprint,
            training=asdict(self.training),
            workers=self.workers,
            **self.inputs,
        )


def train_on_ray(plans: Sequence[TrainPlan], workers: int, gpus: bool, show: Show) -> None:
    """Trains every plan that is not through, one after the other on the same workers.

    Raises:
        MdlakeError: what went wrong on a worker, or `TaskError` if workers died too often.
    """
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    with watched(show) as board, tempfile.TemporaryDirectory() as scratch:
        trainer = TorchTrainer(
            _train_loop,
            train_loop_config={"plans": list(plans), "board": board},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus),
            run_config=RunConfig(  # Ray's own notes go to scratch; our checkpoints go to the lake
                storage_path=scratch, failure_config=FailureConfig(max_failures=_MAX_FAILURES)
            ),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise TaskError(
                f"training failed in spite of {_MAX_FAILURES} restarts; its checkpoints are kept: {error}"
            ) from error
        posted: Any = ray.get(board.error.remote())
        if posted is not None:
            raise posted


def commit_training(plan: TrainPlan) -> dict[str, Any]:
    """Makes the best epoch's weights the model, and only then removes the checkpoints."""
    weights, history = best_weights(plan.store, plan.folder, plan.fingerprint)
    module = build_network(plan.network, plan.network_options)
    module.load_state_dict(weights)
    best = history[best_epoch(history) - 1]
    lineage = {"training": plan.fingerprint, **{key: plan.inputs[key] for key in plan.inputs if key == "scores"}}
    metrics = {key: best[key] and round(best[key], 6) for key in ("epoch", "loss", "auc", "accuracy")}
    model = Model(plan.network, plan.network_options, plan.train.features, plan.train.task, module, metrics, lineage)
    path = f"{plan.folder}/{MODEL_FILE}"
    size = save_bundle(plan.store, path, model)
    record = write_record(
        plan.store,
        plan.record,
        plan.fingerprint,
        model=path,
        parameters=count_parameters(module),
        bytes=size,
        validation=metrics,
        history=[{key: row[key] for key in row if key != "seconds"} for row in history],
    )
    remove_checkpoints(plan.store, plan.folder)
    return {**record, "history": history}


def _train_loop(config: dict[str, Any]) -> None:
    """What runs on each worker."""
    board = config["board"]
    if ray.get(board.error.remote()) is not None:
        return
    torch.set_num_threads(1)
    try:
        for plan in config["plans"]:
            _train_plan(plan, board)
    except (InvalidArgumentError, CorruptError, UnsupportedVersionError) as error:
        ray.get(board.fail.remote(error))
        raise


def _train_plan(plan: TrainPlan, board: Any) -> None:
    first = ray.train.get_context().get_world_rank() == 0
    torch.manual_seed(plan.training.seed)  # the same first weights on every worker
    network = build_network(plan.network, plan.network_options)
    trainer = Trainer(network, plan.train, plan.validation, plan.training, plan.loss, get_device())
    load_checkpoint(plan.store, plan.folder, trainer, plan.fingerprint)
    for progress in trainer.run():
        if first:
            save_checkpoint(plan.store, plan.folder, trainer, plan.fingerprint)
            board.post.remote(plan.name, progress.history[-1])
        ray.train.report({"model": plan.name, **progress.history[-1]})
