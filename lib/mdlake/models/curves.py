"""Curves of a training for TensorBoard: one event file a run, `tensorboard/<run>/`, whole after each epoch.

It has all epochs each time, so that a run which was killed and goes on leaves the same curves as one that was not. The
files are those of TensorFlow's summaries (records of `Event` messages), by tensorboardX; their names say nothing of the
machine.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import Store
from mdlake.models.metrics import score_name, score_of

FOLDER = "tensorboard"
_NAME = "events.out.tfevents.0.mdlake"  # a reader looks for "tfevents" and a number
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Curves:
    """Writes the curves of runs below the folder `run` of a store; small, so that tasks can carry it."""

    store: Store
    run: str

    def __call__(self, name: str, history: Sequence[Mapping[str, Any]]) -> None:
        """Writes the run `name`, or with "" the run itself, from its rows of figures, one an epoch."""
        folder = "/".join([FOLDER, self.run, *([_UNSAFE.sub("_", name)] if name else [])])
        self.store.put(f"{folder}/{_NAME}", event_file(history))


def event_file(history: Sequence[Mapping[str, Any]]) -> bytes:
    """The bytes of an event file: five curves over epochs.

    Raises:
        InvalidArgumentError: tensorboardX is not installed.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise InvalidArgumentError("curves need the package tensorboardX: pip install 'mdlake[models]'") from error
    durations = list(_durations(history))
    ended = time.time() - sum(durations)
    with tempfile.TemporaryDirectory() as scratch:
        with SummaryWriter(scratch) as writer:
            for row, seconds in zip(history, durations, strict=True):
                ended += seconds
                for tag, value in _curves(row, seconds).items():
                    writer.add_scalar(tag, value, row["epoch"], walltime=ended)
        (path,) = Path(scratch).iterdir()
        return path.read_bytes()


def _curves(row: Mapping[str, Any], seconds: float) -> dict[str, float]:
    return {
        "train/loss": row["train_loss"],
        "validation/loss": row["loss"],
        f"validation/{score_name(row)}": score_of(row),
        "learning_rate": row["learning_rate"],
        "seconds_per_epoch": seconds,
    }


def _durations(history: Sequence[Mapping[str, Any]]) -> Iterator[float]:
    """Seconds of each epoch; a row counts from the start of its process, and starts over where one was killed."""
    before = 0.0
    for row in history:
        yield row["seconds"] - before if row["seconds"] >= before else row["seconds"]
        before = row["seconds"]
