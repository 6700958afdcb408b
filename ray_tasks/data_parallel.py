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
from typing import Any

import ray
import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer, get_device

from mdlake.engine import TaskError
from mdlake.errors import CorruptError, InvalidArgumentError, UnsupportedVersionError
from mdlake.models.checkpoints import load_checkpoint, save_checkpoint
from mdlake.models.trial import try_network
from ray_tasks.board import Show, watched
from ray_tasks.training import TrainPlan

_MAX_FAILURES = 3


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


def _train_loop(config: dict[str, Any]) -> None:
    """What runs on each worker."""
    board = config["board"]
    if ray.get(board.error.remote()) is not None:
        return
    torch.set_num_threads(1)
    try:
        plans = list(config.pop("plans"))
        while plans:  # what a plan holds, a teacher or rows, goes with it
            _train_plan(plans.pop(0), board)
    except (InvalidArgumentError, CorruptError, UnsupportedVersionError) as error:
        ray.get(board.fail.remote(error))
        raise


def _train_plan(plan: TrainPlan, board: Any) -> None:
    first = ray.train.get_context().get_world_rank() == 0
    torch.manual_seed(plan.training.seed)  # the same first weights on every worker
    network = plan.build()
    try_network(plan.network, network, plan.validation)
    trainer = plan.start(network, get_device())
    load_checkpoint(plan.store, plan.folder, trainer, plan.fingerprint)
    for progress in trainer.run():
        save_checkpoint(plan.store, plan.folder, trainer, plan.fingerprint)
        if first:
            board.post.remote(plan.name, progress.history[-1])
            if plan.curves:
                plan.curves("", progress.history)
        ray.train.report({"model": plan.name, **progress.history[-1]})
