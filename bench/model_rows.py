"""Rows of `bench.models`, and their CSV."""

from __future__ import annotations

import csv
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One network in one form. `accuracy`: on the test split, of the weights as they come back.

    `dense_accuracy`: that of the network before it was made small or, of a student, of it trained without a teacher.
    """

    case: str
    seed: int
    codec: str
    bytes: int
    x: float
    accuracy: float
    dense_accuracy: float
    parameters: int
    nonzero: int
    macs: int


def write(rows: list[Row], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def load(source: Path) -> list[Row]:
    kinds = {"int": int, "float": float, "str": str}
    with source.open(newline="") as file:
        return [
            Row(**{field.name: kinds[str(field.type)](row[field.name]) for field in fields(Row)})
            for row in csv.DictReader(file)
        ]


def kind_of(row: Row) -> str:
    """The codec without the step or the bits that were best for this seed."""
    return re.sub(r" (qp -?\d+|int\d|fp32|bf16)(?=, of )", "", row.codec)
