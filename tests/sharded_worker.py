"""One of several processes that train together on CPUs: `... -m tests.sharded_worker RANK WORLD MEETING FOLDER RUN...`.

MEETING is a file, not there yet, by which they find each other. FOLDER has train/ and validation/; each RUN is
`name:mode:options`, mode `whole` or `sharded`, options JSON of TrainingOptions with `kill`, the epoch after which this
process kills itself, and `hints`, the width of a teacher whose inner layer is hinted at. Checkpoints go to
FOLDER/lake/name.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed
from torch import nn

from mdlake.lake.store import open_store
from mdlake.models import sharded
from mdlake.models.batches import Source
from mdlake.models.checkpoints import load_checkpoint, save_checkpoint
from mdlake.models.features import FeatureSpec
from mdlake.models.training import Trainer, TrainingOptions, hard_loss
from mdlake.shrink.distill.loss import DistillLoss, DistillOptions
from mdlake.shrink.distill.watched import FeatureOptions
from tests.tiny_models import TASK, shards_of


class Normed(nn.Module):
    """(float32 [rows, 1], int64 [rows, 2]) -> logits [rows]: a few groups, with buffers that training moves."""

    def __init__(self, cardinalities: tuple[int, ...], width: int = 33) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, 4) for size in cardinalities)
        self.norm = nn.BatchNorm1d(9)
        self.body = nn.Sequential(nn.Linear(9, width), nn.ReLU(), nn.Linear(width, 16), nn.ReLU())
        self.out = nn.Linear(16, 1)  # a bias of one number: nothing of it on the second worker

    def forward(self, numeric: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        parts = [table(categories[:, index]) for index, table in enumerate(self.tables)]
        return self.out(self.body(self.norm(torch.cat([numeric, *parts], 1)))).squeeze(1)


def sources(folder: Path) -> tuple[Source, Source]:
    spec = FeatureSpec.from_json(json.loads((folder / "features.json").read_text()))
    train, validation = (Source(shards_of(folder / split), spec, TASK) for split in ("train", "validation"))
    return train, validation


def network_of(source: Source, width: int = 33) -> nn.Module:
    torch.manual_seed(0)
    assert isinstance(source.features, FeatureSpec)
    return Normed(source.features.cardinalities, width)


def hinted(source: Source, width: int) -> DistillLoss:
    features = FeatureOptions("hint", (("body.1", "body.1"),), weight=0.1)
    return DistillLoss(DistillOptions(asked=True, features=features), network_of(source, width).eval())


def run(folder: Path, name: str, mode: str, given: dict) -> None:
    kill, hints = given.pop("kill", 0), given.pop("hints", 0)
    train, validation = sources(folder)
    loss = hinted(train, hints) if hints else hard_loss
    options = TrainingOptions(batch_size=64, learning_rate=1e-2, warmup_steps=5, **given)
    trainer = Trainer(network_of(train), train, validation, options, loss, sharded=mode == "sharded")
    store = open_store(str(folder / "lake"))
    load_checkpoint(store, name, trainer, "f")
    for progress in trainer.run():
        save_checkpoint(store, name, trainer, "f")
        if progress.epoch == kill:
            torch.distributed.barrier()
            os.kill(os.getpid(), signal.SIGKILL)


def main(rank: int, world: int, meeting: str, folder: Path, runs: list[str]) -> None:
    sharded.GROUP = 200  # so that this small network has groups
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    for text in runs:
        name, mode, options = text.split(":", 2)
        run(folder, name, mode, json.loads(options))
    torch.distributed.barrier()  # who is done waits for who still reads
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), sys.argv[5:])
