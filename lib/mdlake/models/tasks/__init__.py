"""A task says what is predicted and how well that went: a label, a loss, measures.

binary    whether a comparison holds, `arr_delay > 15`: one logit a row
classes   which of so many classes, a column of integers from 0: a logit for each
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch

from mdlake.models.metrics import Measures
from mdlake.models.tasks.binary import BinaryTask
from mdlake.models.tasks.classes import ClassTask


class Task(Protocol):
    """The protocol. A network's outputs are float32 [rows], or [rows, outputs] where there are several."""

    @property
    def outputs(self) -> int: ...

    @property
    def label(self) -> str: ...

    @property
    def column(self) -> str:
        """The column that the label is made of."""
        ...

    def labels(self, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """The labels of all rows, and which rows have one, bool [rows].

        Raises:
            InvalidArgumentError: the column is missing, or holds what is no label.
        """
        ...

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean cross entropy in nats."""
        ...

    def measure(self, logits: np.ndarray, labels: np.ndarray) -> Measures: ...

    def to_json(self) -> dict[str, Any]: ...


def logits_shape(task: Task, rows: int) -> tuple[int, ...]:
    """That of a network's outputs for so many rows."""
    return (rows, task.outputs) if task.outputs > 1 else (rows,)


def task_of(label: str, classes: int = 0) -> Task:
    """The task of a recipe or a file: of `classes` classes if there are any, else a comparison."""
    return ClassTask(label, classes) if classes else BinaryTask(label)


def task_from_json(data: Mapping[str, Any]) -> Task:
    """The inverse of `to_json`."""
    return task_of(str(data["label"]), data.get("classes", 0))


__all__ = ["BinaryTask", "ClassTask", "Task", "logits_shape", "task_from_json", "task_of"]
