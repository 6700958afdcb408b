"""What `train` and `distill` plan and commit: one training each, known by its fingerprint.

The spread step between the two is `ray_tasks.data_parallel`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from mdlake.lake.store import Store
from mdlake.models.batches import Source
from mdlake.models.bundle import MODEL_FILE, Model, save_bundle
from mdlake.models.checkpoints import best_epoch, best_weights, remove_checkpoints
from mdlake.models.curves import Curves
from mdlake.models.networks import build_network, count_parameters
from mdlake.models.own import Own
from mdlake.models.records import fingerprint, folder_of, record_of, write_record
from mdlake.models.scoring import Loader
from mdlake.models.training import Loss, Trainer, Training, TrainingOptions
from mdlake.shrink.distill.data_free import DataFreeOptions
from mdlake.shrink.distill.data_free_training import DataFreeTraining


@dataclass(frozen=True)
class WithoutData:
    """The student of that teacher is trained on what a generator makes up; no row of the train split is read."""

    teacher: Loader
    options: DataFreeOptions


@dataclass(frozen=True)
class TrainPlan:
    """One training: which network, on what, how, and where its checkpoints and its result go.

    The network's name is a recipe's, given by a user: one of a user's own is imported. `asked` is what the recipe says
    of it, for its record; `inputs` names what the data came from, for the fingerprint.
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
    asked: dict[str, Any]
    inputs: dict[str, Any]
    sharded: bool = False
    channels_last: bool = False
    curves: Curves | None = None
    without_data: WithoutData | None = None

    def build(self) -> nn.Module:
        """The untrained network."""
        return build_network(self.network, self.network_options, own=Own(self.network))

    def start(self, network: nn.Module, device: torch.device) -> Training:
        """The training of that network, at its beginning."""
        if self.without_data:
            teacher = self.without_data.teacher().module
            return DataFreeTraining(network, teacher, self.validation, self.without_data.options, device)
        return Trainer(
            *(network, self.train, self.validation, self.training, self.loss, device),
            sharded=self.sharded,
            channels_last=self.channels_last,
        )

    @property
    def epochs(self) -> int:
        return self.without_data.options.epochs if self.without_data else self.training.epochs

    @property
    def folder(self) -> str:
        return folder_of(self.name)

    @property
    def record(self) -> str:
        return record_of(self.name)

    @property
    def fingerprint(self) -> str:
        """Changes with anything that changes the weights, but for code: of a user's own the import path is known.

        Not of it is the number of workers of a sharded training, which another number may continue; its weights differ
        a little by that.
        """
        learnt = {"train": self.train.shards.fingerprint, "training": asdict(self.training)}
        return fingerprint(
            network=self.network,
            options=self.network_options,
            features=self.train.features.to_json(),
            **self.train.task.to_json(),
            validation=self.validation.shards.fingerprint,
            workers="sharded" if self.sharded else self.workers,
            **({} if self.without_data else learnt),
            **({"channels_last": True} if self.channels_last else {}),
            **self.inputs,
        )


def commit_training(plan: TrainPlan) -> dict[str, Any]:
    """Makes the best epoch's weights the model, and only then removes the checkpoints."""
    weights, history = best_weights(plan.store, plan.folder, plan.fingerprint)
    module = plan.build()
    module.load_state_dict(weights)
    best = history[best_epoch(history) - 1]
    learnt = {key: plan.inputs[key] for key in plan.inputs if key in ("scores", "teacher")}
    taught = {key: plan.inputs[key] for key in plan.inputs if key == "distill"}
    lineage = {"training": plan.fingerprint, **learnt}
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
        asked=plan.asked,
        history=[{key: row[key] for key in row if key != "seconds"} for row in history],
        **taught,
    )
    remove_checkpoints(plan.store, plan.folder)
    return {**record, "history": history}
