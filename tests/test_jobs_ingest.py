"""ingest accounts for every row, keeps the rules of its options, and writes the same shards everywhere."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import sysconfig
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

from jobs import ingest as job
from jobs.ingest_options import IngestOptions
from jobs.ingest_report import summary
from jobs.options import parse_options
from jobs.shards import Shard
from jobs.sources import fingerprint, open_source
from mdlake.archive.encode import encode
from mdlake.archive.options import EncodeOptions
from mdlake.errors import InvalidArgumentError
from mdlake.lake.dataset import list_parquet
from mdlake.lake.manifest import FOLDER as MANIFESTS
from mdlake.lake.store import open_store
from mdlake.statistics import read_latest

pytestmark = pytest.mark.spark
ROOT = Path(__file__).resolve().parent.parent
TYPES = {"id": "bigint", "delay": "int", "price": "decimal(10,2)", "at": "timestamp"}
CSV: dict[str, Any] = {
    "format": "csv",
    "reader": {"header": "true"},
    "types": TYPES,
    "nulls": ("", "NA"),
    "key": ("id",),
    "rows_per_shard": 400,
}


def messy_csv(path: Path, rows: int = 1000) -> Path:
    """Every 50th delay is no number, every 40th price is NA, every 10th name has spaces around it."""
    lines = ["id,name,delay,price,at"]
    for i in range(rows):
        name = f"  name {i % 7} " if i % 10 == 0 else f"name {i % 7}"
        delay = "late" if i % 50 == 0 else str(i % 13 - 5)
        price = "NA" if i % 40 == 0 else f"{i % 97}.25"
        lines.append(f"{i},{name},{delay},{price},2013-01-{i % 28 + 1:02d}T10:00:00Z")
    path.write_text("\n".join(lines) + "\n")
    return path


def run(spark: Any, options: IngestOptions) -> list[Shard]:
    return job.ingest(open_source(spark, options), options, {"fingerprint": fingerprint(options)})[0]


def table(target: Path | str, split: str = "") -> pa.Table:
    """The rows of a split (or of all), as a reader that honours manifests sees them."""
    files = list_parquet(f"{target}/{split}" if split else str(target))
    return pa.concat_tables(pq.read_table(file.url) for file in files)


def files(target: Path) -> dict[str, bytes]:
    return {str(path.relative_to(target)): path.read_bytes() for path in sorted(target.rglob("*.parquet"))}


def test_every_row_is_kept_or_dropped_for_a_counted_reason(spark: Any, tmp_path: Path) -> None:
    source = messy_csv(tmp_path / "in.csv")
    with source.open("a") as file:
        file.write("1,name 1,-4,1.25,2013-01-02T10:00:00Z\n" * 3)  # equal to a row that is there
        file.write(",nobody,1,1.00,2013-01-02T10:00:00Z\n" * 2)  # no id
        file.write("7,a,1,1.00,2013-01-02T10:00:00Z,too,many\n")  # malformed
    options = IngestOptions(str(source), str(tmp_path / "shards"), **CSV, required=("id",), duplicates="drop")
    run(spark, options)
    rows = read_latest(str(tmp_path / "stats"), "ingest").to_pylist()
    counted = {(row["outcome"], row["name"]): row["rows"] for row in rows}
    assert counted["read", None] == 1006
    assert counted["dropped", "duplicate"] == 3
    assert counted["dropped", "no id"] == 2
    assert counted["dropped", "malformed"] == 1
    kept = sum(n for (outcome, _), n in counted.items() if outcome == "kept")
    assert kept == 1000 == table(tmp_path / "shards").num_rows
    for split in ("train", "validation", "test"):
        assert counted["kept", split] == table(tmp_path / "shards", split).num_rows


def test_types_trimming_nulls_and_bad_values(spark: Any, tmp_path: Path) -> None:
    options = IngestOptions(str(messy_csv(tmp_path / "in.csv")), str(tmp_path / "shards"), **CSV)
    run(spark, options)
    found = table(tmp_path / "shards").sort_by("id")
    assert found.schema.field("id").type == pa.int64()
    assert found.schema.field("delay").type == pa.int32()
    assert found.schema.field("price").type == pa.decimal128(10, 2)
    assert found.schema.field("at").type == pa.timestamp("us", tz="UTC")
    assert found["id"].to_pylist() == list(range(1000))
    assert set(found["name"].to_pylist()) == {f"name {i}" for i in range(7)}
    assert found["delay"].null_count == 20 and found["price"].null_count == 25
    profile = {row["column"]: row for row in read_latest(str(tmp_path / "stats"), "profile").to_pylist()}
    assert {name: row["bad_values"] for name, row in profile.items()} == {
        "id": 0,
        "name": 0,
        "delay": 20,
        "price": 0,
        "at": 0,
    }


def test_a_fraction_is_a_bad_integer(spark: Any, tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0, 2.5, None, 4.0]}), tmp_path / "in.parquet")
    options = IngestOptions(str(tmp_path / "in.parquet"), str(tmp_path / "shards"), types={"x": "bigint"})
    run(spark, options)
    assert sorted(table(tmp_path / "shards")["x"].to_pylist(), key=str) == [1, 4, None, None]
    assert read_latest(str(tmp_path / "stats"), "profile")["bad_values"].to_pylist() == [1]


def test_splits_take_their_shares_and_keep_their_rows(spark: Any, tmp_path: Path) -> None:
    few, many = messy_csv(tmp_path / "few.csv", 2000), messy_csv(tmp_path / "many.csv", 4000)
    run(spark, IngestOptions(str(few), str(tmp_path / "a"), stats=str(tmp_path / "sa"), **CSV))
    coarse = {**CSV, "rows_per_shard": 10_000}
    run(spark, IngestOptions(str(many), str(tmp_path / "b"), stats=str(tmp_path / "sb"), **coarse))
    shares = {"train": 0.8, "validation": 0.1, "test": 0.1}
    for split, share in shares.items():
        before, after = (set(table(tmp_path / where, split)["id"].to_pylist()) for where in ("a", "b"))
        assert before == {i for i in after if i < 2000}, "a row moved to another split"
        assert len(after) / 4000 == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 4000))


def test_of_equal_keys_the_first_row_stays(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("k,v\n" + "".join(f"{i % 30},{i}\n" for i in range(300)))
    options = {"format": "csv", "reader": {"header": "true"}, "types": {"k": "int", "v": "int"}}
    source, target = str(tmp_path / "in.csv"), str(tmp_path / "shards")
    run(spark, IngestOptions(source, target, **options, key=("k",), duplicates="drop-by-key"))
    assert table(target).sort_by("v").to_pydict() == {"k": list(range(30)), "v": list(range(30))}


def test_shards_are_in_the_order_of_the_source_or_sorted(spark: Any, tmp_path: Path) -> None:
    source = str(messy_csv(tmp_path / "in.csv"))
    for name, sort in (("source", ()), ("sorted", ("delay", "name"))):
        shards = run(spark, IngestOptions(source, str(tmp_path / name), stats=str(tmp_path / "s"), **CSV, sort=sort))
        assert Counter(shard.split for shard in shards) == {"train": 3, "validation": 1, "test": 1}
        for path in (tmp_path / name).rglob("*.parquet"):
            rows = pq.read_table(path).to_pylist()
            key = (
                (lambda r: r["id"])
                if not sort
                else (lambda r: (-99 if r["delay"] is None else r["delay"], r["name"], r["id"]))
            )
            assert rows == sorted(rows, key=key)


def test_a_manifest_lists_what_there_is_and_older_shards_are_not_read(spark: Any, tmp_path: Path) -> None:
    source, target = str(messy_csv(tmp_path / "in.csv")), str(tmp_path / "shards")
    run(spark, IngestOptions(source, target, **CSV))
    run(spark, IngestOptions(source, target, **{**CSV, "rows_per_shard": 100}))
    assert table(target).num_rows == 1000
    assert sum(pq.read_metadata(path).num_rows for path in (tmp_path / "shards").rglob("*.parquet")) > 1000


def test_done_means_that_everything_is_there(spark: Any, tmp_path: Path) -> None:
    source = messy_csv(tmp_path / "in.csv")
    options = IngestOptions(str(source), str(tmp_path / "shards"), **CSV)
    lineage = {"fingerprint": fingerprint(options), "options": options.digest()}
    assert not job.is_done(options, lineage)
    shards, _ = job.ingest(open_source(spark, options), options, lineage)
    assert job.is_done(options, lineage)
    versions = len(list((tmp_path / "shards" / MANIFESTS).iterdir()))
    (tmp_path / "shards" / shards[0].path).unlink()
    assert not job.is_done(options, lineage)
    assert job.ingest(open_source(spark, options), options, lineage)[0] == shards
    assert len(list((tmp_path / "shards" / MANIFESTS).iterdir())) == versions, "the same table was committed twice"
    source.write_text(source.read_text() + "5000,late row,1,1.00,2013-01-01T10:00:00Z\n")
    assert fingerprint(options) != lineage["fingerprint"]


def test_what_is_lost_is_told(spark: Any, tmp_path: Path) -> None:
    source = messy_csv(tmp_path / "in.csv")
    with source.open("a") as file:
        file.write(",nobody,1,1.00,2013-01-02T10:00:00Z\n" * 2)
    options = IngestOptions(str(source), str(tmp_path / "shards"), **CSV, required=("id",))
    said = summary(*job.ingest(open_source(spark, options), options, {}), options)
    assert said.splitlines()[-1] == "ingest: of 1,002 rows read: 2 rows dropped (no id), 20 values of delay became null"


def test_other_shards_are_replaced_only_if_told(spark: Any, tmp_path: Path) -> None:
    source, target = str(messy_csv(tmp_path / "in.csv")), tmp_path / "shards"
    first = IngestOptions(source, str(target), **CSV)
    run(spark, first)
    other = replace(first, rows_per_shard=100, split={"train": 0.9, "rest": 0.1})
    lineage = {"fingerprint": fingerprint(other), "options": "others"}
    with pytest.raises(InvalidArgumentError, match=r"another or a changed source, or of other options.*--overwrite"):
        job.check_target(other, lineage)
    other = replace(other, overwrite=True)
    job.check_target(other, lineage)
    shards, _ = job.ingest(open_source(spark, other), other, lineage)
    assert sorted(files(target)) == sorted(shard.path for shard in shards), "an old shard is left, or a new one gone"
    manifests = sorted(str(path.relative_to(target)) for path in target.rglob("*.json.zst"))
    assert [path.split("/")[0] for path in manifests] == [MANIFESTS, "rest", "train"]
    assert table(target).num_rows == pq.read_table(target).num_rows == 1000
    assert table(target, "rest").num_rows < 200
    encode(EncodeOptions(str(target), str(tmp_path / "archive"), effort="fast"))
    with pytest.raises(InvalidArgumentError, match="holds an archive"):
        job.check_target(replace(other, target=str(tmp_path / "archive")), lineage)


def test_a_source_that_is_no_parquet_is_told_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(IngestOptions, "ingest", ["in.csv.gz", "out"], "")
    assert "give --format csv, and --reader header=true" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse_options(IngestOptions, "ingest", ["--help"], "")
    said = " ".join(capsys.readouterr().out.split())
    assert "(default: train=0.8 validation=0.1 test=0.1)" in said and "(default: 1000000)" in said


def test_profiles_agree_with_counting(spark: Any, tmp_path: Path) -> None:
    options = IngestOptions(str(messy_csv(tmp_path / "in.csv")), str(tmp_path / "shards"), **CSV)
    run(spark, options)
    rows = table(tmp_path / "shards")
    for found in read_latest(str(tmp_path / "stats"), "profile").to_pylist():
        values = rows[found["column"]].to_pylist()
        chances = [n / len(values) for n in Counter(values).values()]
        assert found["rows"] == found["profiled_rows"] == len(values)
        assert found["nulls"] == values.count(None)
        assert found["distinct"] == len(set(values) - {None})
        assert found["entropy"] == pytest.approx(-sum(p * math.log2(p) for p in chances), abs=1e-9)
        assert found["shard_bytes"] > 0
    by_name = {row["column"]: row for row in read_latest(str(tmp_path / "stats"), "profile").to_pylist()}
    assert (by_name["id"]["min"], by_name["id"]["max"]) == ("0", "999")


def test_a_bounded_profile_estimates(spark: Any, tmp_path: Path) -> None:
    options = IngestOptions(str(messy_csv(tmp_path / "in.csv")), str(tmp_path / "shards"), **CSV, profile_rows=250)
    run(spark, options)
    by_name = {row["column"]: row for row in read_latest(str(tmp_path / "stats"), "profile").to_pylist()}
    assert by_name["id"]["rows"] == 1000 and 150 < by_name["id"]["profiled_rows"] < 350
    assert by_name["id"]["distinct"] == pytest.approx(1000, rel=0.15)
    assert by_name["name"]["entropy"] == pytest.approx(math.log2(7), abs=0.1)


def test_the_same_shards_from_spark_submit_on_one_core(spark: Any, tmp_path: Path) -> None:
    """Here: two cores, small splits of the input. There: spark-submit, one core, other partitions."""
    source = messy_csv(tmp_path / "in.csv", 3000)
    options = IngestOptions(str(source), str(tmp_path / "here"), **CSV, duplicates="drop", compare=True)
    spark.conf.set("spark.sql.files.maxPartitionBytes", "20000")
    try:
        run(spark, options)
    finally:
        spark.conf.unset("spark.sql.files.maxPartitionBytes")
    toml = tmp_path / "options.toml"
    types = "\n".join(f'{name} = "{kind}"' for name, kind in TYPES.items())
    toml.write_text(
        '[ingest]\nformat = "csv"\nnulls = ["", "NA"]\nkey = ["id"]\nrows_per_shard = 400\nduplicates = "drop"\n'
        f'reader = {{ header = "true" }}\n[ingest.types]\n{types}\n'
    )
    submit = [str(Path(sysconfig.get_path("scripts")) / "spark-submit"), "--master", "local[1]"]
    command = [*submit, str(ROOT / "jobs" / "ingest.py"), str(source), str(tmp_path / "there"), "--options", str(toml)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    first = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert first.returncode == 0, first.stderr[-3000:]
    assert "ingest: train: " in first.stdout
    assert files(tmp_path / "there") == files(tmp_path / "here")
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0 and "found done" in again.stdout
    assert "SparkContext" not in again.stderr, "Spark was started for work that is done"


@pytest.mark.s3
@pytest.mark.parametrize("kind", ["csv", "parquet", "orc", "json"])
def test_objects_of_a_store_make_the_same_rows(
    spark: Any, tmp_path: Path, s3: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    bucket = s3.bucket()
    store = open_store(f"{bucket}/source", s3.options)
    for part in range(2):
        rows = pa.table({"id": pa.array(range(part * 500, part * 500 + 500), pa.int64())})
        rows = rows.append_column("name", [[str(7 * i) for i in rows["id"].to_pylist()]])
        store.put(f"{part}.{kind}", _as(kind, rows))
    common: dict[str, Any] = {"format": kind, "reader": {"header": "true"}, "types": {"id": "bigint"}}
    options = IngestOptions(
        f"{bucket}/source", f"{bucket}/shards", **common, key=("id",), rows_per_shard=300, storage=s3.options
    )
    run(spark, options)
    listed = list_parquet(options.target, s3.options)
    found = pa.concat_tables(
        pq.read_table(pa.BufferReader(open_store(file.root, s3.options).get(file.path))) for file in listed
    ).sort_by("id")
    assert found["id"].to_pylist() == list(range(1000))
    assert found["name"].to_pylist() == [str(7 * i) for i in range(1000)]
    assert job.is_done(options, {"fingerprint": fingerprint(options)})


def _as(kind: str, rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    if kind == "csv":
        pyarrow.csv.write_csv(rows, sink)
    elif kind == "parquet":
        pq.write_table(rows, sink)
    elif kind == "orc":
        pyarrow.orc.write_table(rows, sink)
    else:
        return "\n".join(f'{{"id": {row["id"]}, "name": "{row["name"]}"}}' for row in rows.to_pylist()).encode()
    return sink.getvalue().to_pybytes()


def test_nested_types_and_odd_names(spark: Any, tmp_path: Path) -> None:
    rows = pa.table(
        {
            "a.b": pa.array([1, 2, 3]),
            "größe (cm)": pa.array([[1.5], [], None]),
            "s": pa.array([{"x": 1, "y": "p"}, None, {"x": None, "y": "q"}]),
            "m": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
            "raw": pa.array([b"\x00\xff", b"", None]),
        }
    )
    pq.write_table(rows, tmp_path / "in.parquet")
    options = IngestOptions(str(tmp_path / "in.parquet"), str(tmp_path / "shards"), duplicates="drop")
    run(spark, options)
    assert table(tmp_path / "shards").sort_by("a.b").to_pylist() == rows.to_pylist()


def test_options_that_make_no_sense_are_refused(spark: Any, tmp_path: Path) -> None:
    source = str(messy_csv(tmp_path / "in.csv"))
    nonsense: list[dict[str, Any]] = [{"split": {"train": 0.5}}, {"duplicates": "maybe"}, {"rows_per_shard": 0}]
    for wrong in nonsense:
        with pytest.raises(InvalidArgumentError):
            IngestOptions(source, "x", **wrong)
    with pytest.raises(InvalidArgumentError, match="no column"):
        run(spark, IngestOptions(source, str(tmp_path / "x"), **{**CSV, "key": ("nothing",)}))
    with pytest.raises(InvalidArgumentError, match="cannot read"):
        open_source(spark, IngestOptions("no_such_table", str(tmp_path / "x"), format="table"))


def test_flags_win_over_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "o.toml").write_text('[ingest]\nrows_per_shard = 5\nkey = ["a"]\nsplit = { all = 1.0 }\n')
    argv = ["in", "out", "--options", str(tmp_path / "o.toml"), "--rows-per-shard", "7", "--no-trim"]
    options = parse_options(IngestOptions, "ingest", argv, "")
    assert (options.rows_per_shard, options.key, options.split, options.trim) == (7, ("a",), {"all": 1.0}, False)
    (tmp_path / "o.toml").write_text("rows_per_shards = 5\n")
    with pytest.raises(SystemExit):
        parse_options(IngestOptions, "ingest", argv, "")
    assert "no such option: rows_per_shards" in capsys.readouterr().err
