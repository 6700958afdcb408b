"""Small tables and networks for the tests of models: generated, so that what should be learnt is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mdlake.models.batches import Source
from mdlake.models.bundle import Model
from mdlake.models.features import FeatureSpec
from mdlake.models.fitting import FeatureOptions, fit_features
from mdlake.models.inputs import Inputs
from mdlake.models.networks import build_network
from mdlake.models.opening import open_shards
from mdlake.models.shards import Shards
from mdlake.models.tasks import BinaryTask

TASK = BinaryTask("delay > 15")
FEATURES = FeatureOptions(numeric=("distance",), categories=("carrier", "day*carrier"))
OPTIONS = {"widths": [3, 4], "hidden": [16, 8]}


def delays(rows: int, seed: int = 0) -> pa.Table:
    """Delays that depend on day, carrier and distance; one in twenty has none; a column that is not used."""
    random = np.random.default_rng(seed)
    day, carrier = random.integers(1, 8, rows), random.integers(0, 4, rows)
    distance = random.uniform(100, 2000, rows).round()
    effect = np.random.default_rng(99).normal(0, 2.5, (8, 4))
    logit = effect[day, carrier] + (distance - 1000) / 800
    late = random.random(rows) < 1 / (1 + np.exp(-logit))
    delay = np.where(late, 40, -5)
    return pa.table(
        {
            "day": day,
            "carrier": pa.array(np.array(["AA", "B6", "DL", "UA"])[carrier]),
            "distance": distance,
            "unused": ["x" * 10] * rows,
            "delay": pa.array(delay, mask=random.random(rows) < 0.05),
        }
    )


def write_split(folder: Path, table: pa.Table, files: int = 2, row_group_size: int = 300) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    size = -(-table.num_rows // files)
    for number in range(files):
        part = table.slice(number * size, size)
        pq.write_table(part, folder / f"part-{number:05d}.parquet", row_group_size=row_group_size)
    return folder


def write_lake(lake: Path, rows: int = 2000) -> Path:
    """A lake with the three splits."""
    for seed, (split, share) in enumerate({"train": 1.0, "validation": 0.3, "test": 0.3}.items()):
        write_split(lake / "shards" / split, delays(int(rows * share), seed))
    return lake


def shards_of(folder: Path) -> Shards:
    return open_shards(str(folder))


def source_of(folder: Path, spec: Inputs | None = None, scores: Shards | None = None) -> Source:
    shards = shards_of(folder)
    return Source(shards, spec or fit_features(shards, FEATURES, map), TASK, scores)


def network_options(spec: Inputs) -> dict:
    assert isinstance(spec, FeatureSpec)
    return {"numeric": len(spec.numeric), "cardinalities": list(spec.cardinalities), **OPTIONS}


def model_of(spec: Inputs, seed: int = 0) -> Model:
    torch.manual_seed(seed)
    options = network_options(spec)
    module = build_network("tabular_mlp", options).eval()
    return Model("tabular_mlp", options, spec, TASK, module, {"auc": 0.75}, {"train": "00ff"})
