"""Statistics come back as they were recorded, and nothing that breaks the contract is written."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mdlake.errors import CorruptError, InvalidArgumentError
from mdlake.statistics import KINDS, read, read_latest, record

STAGE = {"stage": "encode", "seconds": 1.5, "skipped": False}


def test_the_contract_is_a_json_schema_of_every_kind() -> None:
    contract = json.loads(files("mdlake.schemas").joinpath("statistics.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(contract)
    assert tuple(contract["$defs"]) == KINDS


def test_rows_come_back_in_order_with_their_run(tmp_path: Path) -> None:
    stats = str(tmp_path / "stats")
    record(stats, "stages", [STAGE, {**STAGE, "stage": "verify"}], run="first")
    record(stats, "stages", [{**STAGE, "seconds": 2.5}], run="a-second")
    table = read(stats, "stages")
    assert table.select(["run", "stage", "seconds"]).to_pylist() == [
        {"run": "first", "stage": "encode", "seconds": 1.5},
        {"run": "first", "stage": "verify", "seconds": 1.5},
        {"run": "a-second", "stage": "encode", "seconds": 2.5},
    ]
    assert read_latest(stats, "stages")["run"].to_pylist() == ["a-second"]


def test_a_file_is_plain_parquet(tmp_path: Path) -> None:
    record(str(tmp_path), "stages", [STAGE], run="one")
    table = pq.read_table(tmp_path / "stages" / "one.parquet")
    assert table.column_names == ["run", "recorded", "stage", "seconds", "skipped"]
    assert table.schema.field("recorded").type == pa.timestamp("us", tz="UTC")


def test_recording_a_run_again_replaces_it(tmp_path: Path) -> None:
    record(str(tmp_path), "stages", [STAGE, STAGE], run="one")
    record(str(tmp_path), "stages", [STAGE], run="one")
    assert read(str(tmp_path), "stages").num_rows == 1


def test_numbers_of_numpy_and_arrow_are_taken(tmp_path: Path) -> None:
    row = {"stage": pa.scalar("encode"), "seconds": np.float32(0.5), "skipped": np.bool_(True)}
    record(str(tmp_path), "stages", [row], run="one")
    assert read(str(tmp_path), "stages").select(["stage", "seconds", "skipped"]).to_pylist() == [
        {"stage": "encode", "seconds": 0.5, "skipped": True}
    ]


@pytest.mark.parametrize(
    ("kind", "row", "run"),
    [
        ("stages", {"stage": "encode", "seconds": 1.0}, "one"),
        ("stages", {**STAGE, "seconds": "long"}, "one"),
        ("stages", {**STAGE, "host": "somewhere"}, "one"),
        ("stages", STAGE, "../one"),
        ("weather", STAGE, "one"),
    ],
)
def test_what_breaks_the_contract_is_refused(tmp_path: Path, kind: str, row: dict, run: str) -> None:
    with pytest.raises(InvalidArgumentError):
        record(str(tmp_path), kind, [row], run=run)
    assert not list(tmp_path.rglob("*.parquet"))


def test_nothing_recorded_is_an_empty_table_of_the_kind(tmp_path: Path) -> None:
    for kind in KINDS:
        table = read(str(tmp_path), kind)
        assert table.num_rows == 0 and table.column_names[:2] == ["run", "recorded"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "one.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(CorruptError, match=r"stages/one\.parquet"):
        read(str(tmp_path), "stages")
