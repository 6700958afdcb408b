"""Rows for the statistics `training`, `models` and `layers` (`schemas/statistics.json`), from what verbs found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mdlake.shrink.layers import LayerReport
from mdlake.statistics import record
from ray_tasks.options import CommonOptions, storage_options


def record_training(options: CommonOptions, model: str, history: Sequence[dict[str, Any]], run: str) -> None:
    """Two rows an epoch: what training saw, and what the validation split said."""
    rows = []
    for row in history:
        common = {
            "model": model,
            "epoch": row["epoch"],
            "step": row["step"],
            "learning_rate": row["learning_rate"],
            "seconds": row["seconds"],
        }
        rows.append({**common, "split": "train", "loss": row["train_loss"]})
        rows.append(
            {
                **common,
                "split": "validation",
                "loss": row["loss"],
                "auc": row["auc"],
                "accuracy": row["accuracy"],
            }
        )
    record(options.stats, "training", rows, run=run, options=storage_options(options.lake))


def record_models(options: CommonOptions, rows: Sequence[dict[str, Any]], run: str) -> None:
    record(options.stats, "models", rows, run=run, options=storage_options(options.lake))


def record_layers(options: CommonOptions, layers: Sequence[LayerReport], run: str) -> None:
    """Nothing, if none were asked for."""
    if layers:
        rows = [asdict(layer) for layer in layers]
        record(options.stats, "layers", rows, run=run, options=storage_options(options.lake))
