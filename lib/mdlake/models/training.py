"""The training loop: one network, on one or many workers, on a CPU or a GPU, exactly repeatable.

Data-parallel by torch's DistributedDataParallel if a process group was set up, which is the caller's part
(Ray Train, torchrun), or spread over the workers (`mdlake.models.sharded`).

Learning rate: linear warm-up, then a cosine (Loshchilov and Hutter, SGDR, 2017);
AdamW (Loshchilov and Hutter, 2019), with a decay of its own for embedding tables, whose rare rows Adam moves
as far as frequent ones. The forward pass runs in bfloat16 on a GPU, and where `precision` says so; the weights, their
gradients and the loss are float32 always (Micikevicius et al., Mixed Precision Training, 2018).

Every random number comes from the seed, the epoch and the rank, so a run that was killed and continued from
the checkpoint of its last epoch ends with the same bits as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mdlake.errors import InvalidArgumentError
from mdlake.models.augment import Augment
from mdlake.models.batches import Batch, Share, Source, ordered_batches, steps_per_epoch, training_batches
from mdlake.models.metrics import Measures
from mdlake.models.sharded import InStep, shard, share_buffers
from mdlake.models.tasks import Task

_PRECISIONS = ("auto", "float32", "bfloat16")
_CHECK_STEPS = 32  # asking a GPU for a number waits for it

Loss = Callable[[Task, torch.Tensor, Batch], torch.Tensor]

BESIDE = "learnt_beside"
"""The submodule of what a loss learns along with a network: checkpoints have it, the network in the end does not."""


@runtime_checkable
class Attached(Protocol):
    """A loss that looks into the network: it is given it before training, and the rows that it is measured on.

    What it puts beside the network (`put_beside`) is trained as well. After training it lets go.
    """

    def attach(self, network: nn.Module, rows: Source) -> None: ...

    def detach(self) -> None: ...


def put_beside(network: nn.Module, module: nn.Module) -> None:
    """Makes the module a part of the network, until training ends, without being a part of what it computes.

    Raises:
        InvalidArgumentError: the network runs all its parts in order, so that there is no such place.
    """
    if isinstance(network, nn.Sequential):
        raise InvalidArgumentError(
            "nothing can be learnt beside an nn.Sequential: put it into a module with a forward of its own"
        )
    network.add_module(BESIDE, module)


@dataclass(frozen=True)
class TrainingOptions:
    """`batch_size` is that of all workers together; `final_rate` a share of `learning_rate`.

    precision: "float32", "bfloat16", or "auto": the latter on a GPU. accumulate: a batch is taken in so many parts,
    one after the other, whose gradients are summed: a large batch in little memory. augment: of images, while training.
    """

    epochs: int = 4
    batch_size: int = 2048
    learning_rate: float = 2e-3
    final_rate: float = 0.01
    warmup_steps: int = 50
    weight_decay: float = 1e-2
    embedding_decay: float = 1.0
    buffer_rows: int = 1 << 16
    precision: str = "auto"
    accumulate: int = 1
    augment: Augment | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InvalidArgumentError(f"{name} must be positive, not {getattr(self, name)}")
        if isinstance(self.augment, Mapping):  # as recipes have it
            object.__setattr__(self, "augment", Augment(**self.augment))
        if self.precision not in _PRECISIONS:
            raise InvalidArgumentError(f"precision is one of {', '.join(_PRECISIONS)}, not {self.precision!r}")
        if self.accumulate < 1:
            raise InvalidArgumentError(f"a batch is taken in 1 part or more, not in {self.accumulate}")


@dataclass
class Progress:
    """Where training stands: epochs done, and a row of figures for each (they become statistics)."""

    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def add(self, step: int, train_loss: float, measured: Measures, learning_rate: float, seconds: float) -> None:
        """An epoch is done: `step` steps so far, `measured` on the validation split."""
        self.epoch += 1
        self.history.append(
            {
                "epoch": self.epoch,
                "step": step,
                "train_loss": train_loss,
                "loss": measured.loss,
                "auc": measured.auc,
                "accuracy": measured.accuracy,
                "learning_rate": learning_rate,
                "seconds": seconds,
            }
        )


class Training(Protocol):
    """What checkpoints know of a training: it yields after each epoch, and what it yields is where it stands."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    progress: Progress
    share: Share
    sharded: bool

    def run(self) -> Iterator[Progress]: ...


@dataclass
class Trainer:
    """A network, its optimizer and its data. The hooks around a step may hold weights to a constraint, as a mask.

    sharded: each of several workers keeps a part of every tensor in place of the whole; a worker alone has the whole.
    channels_last: weights of convolutions, and with them images on their way, lie with the channels of a pixel side by
    side, which is faster and other in the last bits; not with `sharded`.
    """

    network: nn.Module
    train: Source
    validation: Source
    options: TrainingOptions
    loss: Loss
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    before_step: Callable[[], None] | None = None
    after_step: Callable[[], None] | None = None
    progress: Progress = field(default_factory=Progress)
    sharded: bool = False
    channels_last: bool = False

    def __post_init__(self) -> None:
        for name, split in (("train", self.train), ("validation", self.validation)):
            if not split.shards.rows:
                raise InvalidArgumentError(f"the {name} split is empty", url=split.shards.store.url)
        if self.options.augment and self.train.scores is not None:
            raise InvalidArgumentError(
                "the stored scores are of images as they are, but training augments them: "
                "have the teacher asked anew (asked = true under [distill])"
            )
        if isinstance(self.loss, Attached):
            self.loss.attach(self.network, self.validation)
        self.share: Share = _share()
        self.sharded = self.sharded and self.share.world > 1
        self._model = self._spread()
        groups = _groups(self.network, self.options)
        self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(groups, lr=self.options.learning_rate, fused=True)
        self._narrow = self.options.precision == "bfloat16" or (
            self.options.precision == "auto" and self.device.type == "cuda"
        )
        self._steps = steps_per_epoch(self.train.shards, self.options.batch_size, self.share.world)

    def run(self) -> Iterator[Progress]:
        """Trains the epochs that are left; yields after each, for the caller to keep a checkpoint."""
        begun = time.monotonic()
        while self.progress.epoch < self.options.epochs:
            loss = self._epoch(self.progress.epoch)
            measured = self.measure()
            rate, seconds = self.optimizer.param_groups[0]["lr"], time.monotonic() - begun
            self.progress.add((self.progress.epoch + 1) * self._steps, loss, measured, rate, seconds)
            yield self.progress
        if isinstance(self.loss, Attached):
            self.loss.detach()
        if hasattr(self.network, BESIDE):
            delattr(self.network, BESIDE)

    def measure(self) -> Measures:
        """The measures of the validation split; each worker does its share, all get the whole."""
        logits, labels = self._predict()
        if self.share.world > 1:
            parts: list[Any] = [None] * self.share.world
            torch.distributed.all_gather_object(parts, (logits, labels))
            logits, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
        return self.validation.task.measure(logits, labels)

    def _spread(self) -> nn.Module:
        """What computes the network on all workers."""
        if self.sharded and self.channels_last:
            raise InvalidArgumentError("a sharded network cannot be channels_last: leave one of them out")
        if self.sharded:
            shard(self.network, self.device)
            return self.network
        self.network.to(self.device)
        if self.channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.share.world > 1:
            return DistributedDataParallel(self.network, gradient_as_bucket_view=True)
        return self.network

    def _predict(self) -> tuple[np.ndarray, np.ndarray]:
        """Logits and labels of this worker's share of the validation split."""
        if self.share.world > 1:
            share_buffers(self.network)
        if not self.sharded:
            return predict(self.network, ordered_batches(self.validation, self.share), self.device)
        batches = InStep(self.validation, self.share)
        logits, labels = predict(self.network, iter(batches), self.device)
        own = len(labels) - batches.spare
        return logits[:own], labels[:own]

    def _epoch(self, epoch: int) -> float:
        torch.manual_seed(seed_of(self.options.seed, epoch, self.share.rank))
        self._model.train()
        total = torch.zeros((), device=self.device)
        for index, batch in enumerate(self._batches(epoch)):
            self._set_rate(epoch * self._steps + index)
            total += self._step(batch)
            if index % _CHECK_STEPS == 0 or index == self._steps - 1:
                self._check_finite(total, epoch, index)
        if self.share.world > 1:
            torch.distributed.all_reduce(total)
        return float(total) / (self._steps * self.share.world)

    def _step(self, batch: Batch) -> torch.Tensor:
        """One step of the optimizer; returns the loss, detached."""
        if self.before_step:
            self.before_step()
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        parts = batch.parts(self.options.accumulate)
        for number, part in enumerate(parts, 1):
            share = len(part.labels) / len(batch.labels)
            with self._alone(number < len(parts)):
                loss = share * self.loss(self.train.task, self._forward(part), part)
                loss.backward()
            total += loss.detach()
        self.optimizer.step()
        if self.after_step:
            self.after_step()
        return total

    def _forward(self, batch: Batch) -> torch.Tensor:
        """Logits, float32."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._narrow):
            return self._model(*batch.inputs).float()

    def _alone(self, wait: bool) -> AbstractContextManager[None]:
        """While `wait`, gradients are not yet averaged over workers; sharded ones are at once, to be small."""
        return self._model.no_sync() if wait and isinstance(self._model, DistributedDataParallel) else nullcontext()

    def _batches(self, epoch: int) -> Iterator[Batch]:
        options = self.options
        for batch in training_batches(
            self.train,
            self.share,
            batch_size=options.batch_size,
            steps=self._steps,
            seed=options.seed,
            epoch=epoch,
            buffer_rows=options.buffer_rows,
        ):
            moved = batch.to(self.device)
            yield replace(moved, inputs=(options.augment(moved.inputs[0]),)) if options.augment else moved

    def _set_rate(self, step: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.options, step, self.options.epochs * self._steps)

    def _check_finite(self, total: torch.Tensor, epoch: int, step: int) -> None:
        if not math.isfinite(float(total)):
            raise InvalidArgumentError(
                f"the loss is not a finite number in epoch {epoch}, step {step}: lower learning_rate "
                f"({self.options.learning_rate}) or look for extreme values in the numeric columns; "
                "the checkpoints of earlier epochs are kept"
            )


def hard_loss(task: Task, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The task's own loss against the labels."""
    return task.loss(logits, batch.labels)


def learning_rate(options: TrainingOptions, step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to `final_rate`."""
    warm = min(1.0, (step + 1) / max(1, min(options.warmup_steps, steps // 4)))
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return options.learning_rate * warm * (options.final_rate + (1 - options.final_rate) * cosine)


@torch.no_grad()
def predict(
    network: nn.Module, batches: Iterator[Batch], device: torch.device | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Logits, float32 [rows] or [rows, outputs], and labels of all batches; the network is left in eval mode."""
    device = device or torch.device("cpu")
    network.eval()
    logits, labels = [], []
    for batch in batches:
        inputs = [tensor.to(device) for tensor in batch.inputs]
        logits.append(network(*inputs).float().cpu().numpy())
        labels.append(batch.labels.numpy())
    nothing = [np.zeros(0, np.float32)]
    return np.concatenate(logits or nothing), np.concatenate(labels or nothing)


def _groups(network: nn.Module, options: TrainingOptions) -> list[dict[str, Any]]:
    tables = {id(m.weight) for m in network.modules() if isinstance(m, nn.Embedding)}
    chosen = [p for p in network.parameters() if id(p) in tables]
    others = [p for p in network.parameters() if id(p) not in tables]
    groups = [
        {"params": chosen, "weight_decay": options.embedding_decay},
        {"params": others, "weight_decay": options.weight_decay},
    ]
    return [group for group in groups if group["params"]]


def _share() -> Share:
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return Share()
    return Share(torch.distributed.get_rank(), torch.distributed.get_world_size())


def seed_of(*parts: int) -> int:
    """A seed for torch that differs wherever one of these numbers does."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
