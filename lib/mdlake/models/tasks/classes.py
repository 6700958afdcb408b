"""Which of several classes a row is of: a column of integers from 0. Rows where it is null have no label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.nn.functional import cross_entropy

from mdlake.errors import InvalidArgumentError
from mdlake.models.metrics import Measures, measure_classes
from mdlake.models.tasks.column import label_column

_MOST = 1 << 20


@dataclass(frozen=True)
class ClassTask:
    """Predicts the column `label`, one of `classes` classes: one logit for each, the highest wins."""

    label: str
    classes: int

    def __post_init__(self) -> None:
        if type(self.classes) is not int or not 2 <= self.classes <= _MOST:
            raise InvalidArgumentError(f"there are 2 to {_MOST} classes, not {self.classes!r}")
        if not self.label:
            raise InvalidArgumentError("the label is the name of a column, not empty")

    @property
    def outputs(self) -> int:
        return self.classes

    @property
    def column(self) -> str:
        return self.label

    def labels(self, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """int64 [rows], 0 where there is none, and which rows have one."""
        array = label_column(table, self.label, self.label)
        if not pa.types.is_integer(array.type):
            raise InvalidArgumentError(f"classes are integers, but the column is {array.type}", column=self.label)
        found = array.is_valid().to_numpy(zero_copy_only=False)
        values = pc.fill_null(array, 0).to_numpy().astype(np.int64)
        wrong = np.flatnonzero((values < 0) | (values >= self.classes))
        if len(wrong):
            raise InvalidArgumentError(
                f"classes are 0 to {self.classes - 1}, but there is {values[wrong[0]]}; "
                "say how many classes there are (classes), or clean the column",
                column=self.label,
            )
        return values, found

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean cross entropy in nats of logits [rows, classes]."""
        return cross_entropy(logits, labels)

    def measure(self, logits: np.ndarray, labels: np.ndarray) -> Measures:
        return measure_classes(logits, labels)

    def to_json(self) -> dict[str, Any]:
        return {"label": self.label, "classes": self.classes}
