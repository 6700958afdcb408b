"""Whether something holds, of which a column tells: one logit a row.

The label is written as in SQL, `arr_delay > 15`: one column, one comparison, one number. Rows where the
column is null have no label: they are left out of training and evaluation, and counted.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from mdlake.errors import InvalidArgumentError
from mdlake.models.metrics import Measures, measure_binary
from mdlake.models.tasks.column import label_column

_COMPARISONS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_LABEL = re.compile(r"\s*(?P<column>.+?(?<![<>=!]))\s*(?P<sign>>=|<=|==|!=|>|<)\s*(?P<bound>[-+.\deE]+)\s*")


@dataclass(frozen=True)
class BinaryTask:
    """Predicts whether `label` holds. A network's output is one logit a row; from 0 upwards it says yes."""

    label: str

    def __post_init__(self) -> None:
        self._parse()

    @property
    def outputs(self) -> int:
        return 1

    @property
    def column(self) -> str:
        """The column that the label is made of."""
        return self._parse()[0]

    def labels(self, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """The labels of all rows, float32 [rows] of 0 and 1, and which rows have one, bool [rows]."""
        column, compare, bound = self._parse()
        array = label_column(table, column, self.label)
        try:
            values = array.cast(pa.float64())
        except pa.ArrowException as error:
            raise InvalidArgumentError(
                f"the label {self.label!r} compares numbers, but the column is {array.type}", column=column
            ) from error
        found = values.is_valid().to_numpy(zero_copy_only=False)
        numbers = values.fill_null(0.0).to_numpy(zero_copy_only=False)
        return compare(numbers, bound).astype(np.float32), found & ~np.isnan(numbers)

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean cross entropy in nats; of logits [rows, members], each member against the same labels."""
        return binary_cross_entropy_with_logits(logits, spread(labels, logits))

    def measure(self, logits: np.ndarray, labels: np.ndarray) -> Measures:
        return measure_binary(logits, labels)

    def to_json(self) -> dict[str, Any]:
        return {"label": self.label}

    def _parse(self) -> tuple[str, Callable[[np.ndarray, float], np.ndarray], float]:
        match = _LABEL.fullmatch(self.label)
        try:
            if match:
                return match["column"], _COMPARISONS[match["sign"]], float(match["bound"])
        except ValueError:
            pass  # the bound is no number
        raise InvalidArgumentError(
            f"a label is a column, a comparison and a number, as 'arr_delay > 15', not {self.label!r}"
        )


def spread(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Values [rows] in the shape of `like`: [rows], or [rows, members] where members each answer."""
    return values if like.dim() == 1 else values.unsqueeze(1).expand_as(like)
