"""The benchmark compares like with like: peers give back what they got, differences are seen, means are right."""

import math
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from bench.compare import MeasurementError, differences
from bench.goals import best_peer, geometric_mean, goals, means
from bench.measure import Figure
from bench.peers import CODECS, PEERS, missing
from bench.tables import chosen
from mdlake.artifact import load_artifact
from mdlake.models.images import ImageSpec
from mdlake.models.networks import count_parameters

ROWS = 2500
RESULTS = Path(__file__).parents[1] / "bench" / "results"


def table() -> pa.Table:
    numbers = [None if i % 7 == 0 else i * i for i in range(ROWS)]
    return pa.table(
        {
            "integer": pa.array(numbers, pa.int64()),
            "small": pa.array([i % 100 - 50 for i in range(ROWS)], pa.int8()),
            "float": pa.array([[0.5, -0.0, math.nan, None, i][i % 5] for i in range(ROWS)], pa.float64()),
            "flag": pa.array([None if i % 11 == 0 else i % 3 == 0 for i in range(ROWS)]),
            "text": pa.array([None if i % 5 == 0 else "x" * (i % 4) for i in range(ROWS)]),
            "day": pa.array(range(ROWS), pa.int32()).cast(pa.date32()),
            "time": pa.array(numbers, pa.int64()).cast(pa.timestamp("us", "UTC")),
            "money": pa.array([Decimal(i - 100) / 100 for i in range(ROWS)], pa.decimal128(15, 2)),
            "nothing": pa.array([None] * ROWS, pa.int32()),
            "list": pa.array([[i, i + 1] for i in range(ROWS)]),
        }
    )


@pytest.mark.parametrize("codec", PEERS)
def test_a_peer_gives_back_what_it_was_given(codec, tmp_path):
    if missing(codec):
        pytest.skip(f"{codec} is not installed")
    CODECS[codec].write(table(), tmp_path / "written")
    remarks = differences(table(), CODECS[codec].read(tmp_path / "written"))
    assert all(" as " in remark for remark in remarks)  # types, but no bits


def test_differences_are_seen():
    assert differences(table(), table()) == []
    assert differences(pa.table({"x": [0.0]}), pa.table({"x": [-0.0]})) == ["x: other bits of NaN or zero"]
    assert differences(pa.table({"x": ["a"]}), pa.table({"x": pa.array(["a"], pa.large_string())})) == [
        "string as large_string"
    ]
    for other in ([2.0], [None], [math.nan]):
        with pytest.raises(MeasurementError):
            differences(pa.table({"x": [1.0]}), pa.table({"x": pa.array(other, pa.float64())}))
    with pytest.raises(MeasurementError):
        differences(pa.table({"x": [1]}), pa.table({"y": [1]}))


def figure(table: str, codec: str, size: int) -> Figure:
    return Figure(table, codec, 10, 1, 1000, size, 2.0, 8.0, 0, "")


def test_means_are_geometric_and_of_the_best_peer_of_each_table():
    figures = [
        figure("a", "mdlake max", 50), figure("a", "parquet zstd-9", 100), figure("a", "openzl searched", 200),
        figure("b", "mdlake max", 200), figure("b", "parquet zstd-9", 200), figure("b", "openzl searched", 100),
    ]  # fmt: skip
    best = best_peer(figures[3:])
    assert best is not None and best.codec == "openzl searched"
    ours = next(mean for mean in means(figures) if mean.codec == "mdlake max")
    assert (ours.tables, ours.of_best, ours.of_reference) == (2, pytest.approx(1), pytest.approx(math.sqrt(0.5)))
    found = {goal.name: goal for goal in goals(figures)}
    worst = found["max / best peer, any table"]
    assert (worst.measured, worst.worst, worst.met) == (2, "b 2", False)
    assert found["max, encode, MB/s, geometric mean"].met
    assert not any("fast" in name for name in found)
    assert math.isnan(geometric_mean([]))


def test_names_are_chosen_by_their_beginning():
    assert chosen(None, ["a", "b"]) == ["a", "b"]
    assert chosen("par,mdlake fast", CODECS)[0] == "mdlake fast"
    with pytest.raises(SystemExit):
        chosen("parquet,nothing", CODECS)


@pytest.mark.parametrize(("name", "parameters", "bound"), [("lenet_300_100", 266_610, 270), ("lenet_5", 431_080, 400)])
def test_the_kept_networks_load_and_are_as_small_as_said(name: str, parameters: int, bound: int) -> None:
    """What anyone who doubts the figures would do: load the file, count, give it an image of 28 x 28 pixels."""
    path = RESULTS / "models" / f"{name}.safetensors"
    model = load_artifact(str(path))
    assert count_parameters(model.module) == parameters
    assert 4 * parameters / path.stat().st_size > bound
    assert model.features == ImageSpec("image", (1, 28, 28))
    assert model.module(torch.rand(2, 1, 28, 28)).shape == (2, 10)
