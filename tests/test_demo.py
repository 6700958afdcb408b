"""The demo on a few rows: killed on the way it continues, and a second run finds its work done."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from demo.flights import ROWS, provide, source_path
from mdlake.lake.store import open_store

pytestmark = [pytest.mark.spark, pytest.mark.ray]
ROOT = Path(__file__).resolve().parent.parent
STAGES = ("ingest", "encode", "verify", "restore", "train", "score", "distill", "compress", "evaluate", "report")

RECIPE = """
label = "arr_delay > 15"
[teacher]
network = "tabular_mlp"
numeric = ["hour", "distance"]
categories = { month = 8, origin = 4 }
options = { hidden = [32] }
training = { epochs = 2, batch_size = 256 }
[student]
network = "tabular_mlp"
numeric = ["hour"]
categories = { origin = 2 }
options = { hidden = [4] }
training = { epochs = 2, batch_size = 256 }
[distill]
soft = 0.9
[compress]
max_drop = 0.5
training = { epochs = 1, batch_size = 256 }
stages = [{ use = "prune", sparsity = 0.3 }, { use = "linear", bits = [8, 5, 4] }]
"""


def command(lake: Path) -> list[str]:
    recipe = lake.with_name("tiny.toml")
    recipe.write_text(RECIPE)
    options = ("--lake", str(lake), "--rows", "3000", "--recipe", str(recipe), "--spark", "local[2]")
    return [sys.executable, "-m", "demo", *options]


def run(lake: Path) -> tuple[dict[str, str], str]:
    """What the demo says of each stage, and all that it says."""
    done = subprocess.run(command(lake), cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("\u2713")]
    return {line[1]: " ".join(line[-2:]) for line in lines}, done.stdout


def killed_after(lake: Path, stage: str) -> None:
    """Starts the demo and kills it, and what it started, once `stage` is done and the next at work."""
    process = subprocess.Popen(command(lake), cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout
    for line in process.stdout:
        if line.split()[1:2] == [stage]:
            break
    else:
        pytest.fail(f"the demo ended before {stage} was done")
    time.sleep(3)
    os.killpg(process.pid, 9)
    process.wait()


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("demo") / "lake"


@pytest.mark.timeout(600)
def test_a_killed_demo_continues_and_ends_with_the_table(lake: Path) -> None:
    killed_after(lake, "ingest")
    stages, output = run(lake)
    assert tuple(stages) == STAGES
    assert stages.pop("ingest") == "found done"
    assert all(said.endswith(" s") for said in stages.values()), "a stage that was not done was skipped"
    for row in (
        "Parquet snappy",
        "Parquet zstd-9",
        "archive",
        "teacher",
        "student alone",
        "student distilled",
        "artifact",
    ):
        assert row in output
    assert "NYC flights 2013" in output and (lake / "report.html").stat().st_size > 20_000
    shards = {path.relative_to(lake / "shards"): pq.read_table(path) for path in (lake / "shards").rglob("*.parquet")}
    assert sum(table.num_rows for table in shards.values()) == 3000
    for path, table in shards.items():
        assert pq.read_table(lake / "restored" / path).equals(table)


@pytest.mark.timeout(200)
def test_a_second_run_finds_everything_done(lake: Path) -> None:
    begun = time.monotonic()
    stages, output = run(lake)
    assert set(stages.values()) == {"found done"} and tuple(stages) == STAGES
    assert "all stages were found done" in output
    assert time.monotonic() - begun < 60


def test_a_part_of_the_flights_is_spread_over_the_year(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    provide(store, 365)
    lines = store.get(source_path(365)).decode().splitlines()
    assert len(lines) == 366 and lines[0].startswith("year,month,day")
    assert {line.split(",")[1] for line in lines[1:]} == {str(month) for month in range(1, 13)}
    assert source_path(ROWS) == "source/flights.csv"
