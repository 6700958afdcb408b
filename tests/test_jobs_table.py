"""Table verbs on Spark: the same archive as in-process, errors of the library as themselves, a zip that works."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import bundle, worker
from jobs.encode import main as encode_main
from jobs.encode import record_archive
from jobs.engine import SparkEngine
from jobs.options import reported
from jobs.restore import main as restore_main
from jobs.table_options import EncodeJobOptions
from mdlake.archive import encode, restore, verify
from mdlake.archive.options import EncodeOptions, RestoreOptions, VerifyOptions
from mdlake.errors import CorruptError, StoreError
from mdlake.lake.manifest import FOLDER as MANIFESTS
from mdlake.statistics import read_latest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for part in range(3):
        rows = {"id": list(range(part * 500, part * 500 + 500)), "word": [f"w{i % 9}" for i in range(500)]}
        pq.write_table(pa.table(rows), folder / f"part-{part}.parquet")
    return folder


def digests(folder: Path) -> dict[str, str]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.mark.spark
def test_encode_verify_restore_on_spark_equal_the_local_ones(spark: Any, source: Path, tmp_path: Path) -> None:
    engine = SparkEngine(spark.sparkContext, "test")
    report = encode.encode(EncodeOptions(str(source), str(tmp_path / "spark")), engine)
    encode.encode(EncodeOptions(str(source), str(tmp_path / "local")))
    assert report.rows == 1500
    assert digests(tmp_path / "spark") == digests(tmp_path / "local")
    assert verify.verify(VerifyOptions(str(tmp_path / "spark"), str(source)), engine).ok
    restore.restore(RestoreOptions(str(tmp_path / "spark"), str(tmp_path / "back")), engine)
    for path in source.iterdir():
        assert pq.read_table(tmp_path / "back" / path.name).equals(pq.read_table(path))


@pytest.mark.spark
def test_a_loss_and_another_order_are_the_same_on_spark(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for part in range(2):
        rows = {"of": [i * 7 % 5 for i in range(3000)], "level": [part + (i * i % 977) ** 0.5 for i in range(3000)]}
        pq.write_table(pa.table(rows), tmp_path / "source" / f"part-{part}.parquet")
    source, engine = str(tmp_path / "source"), SparkEngine(spark.sparkContext, "test")
    lossy = EncodeOptions(source, str(tmp_path / "spark"), max_error={"level": "0.25"}, reorder="reversible")
    encode.encode(lossy, engine)
    encode.encode(replace(lossy, archive=str(tmp_path / "local")))
    assert digests(tmp_path / "spark") == digests(tmp_path / "local")
    assert verify.verify(VerifyOptions(str(tmp_path / "spark"), source), engine).ok
    assert not verify.verify(VerifyOptions(str(tmp_path / "spark"), source, exact=True), engine).ok


def test_errors_are_one_line_and_options_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"restore: .*nothing was committed here"), reported("restore"):
        restore_main([str(tmp_path / "nowhere"), str(tmp_path / "target")])
    for kind in (EncodeJobOptions, RestoreOptions, VerifyOptions):
        assert all(field.metadata.get("help") for field in fields(kind)), kind
    with pytest.raises(SystemExit):
        encode_main(["--help"])
    assert "fast, default or max (default: default)" in capsys.readouterr().out


@pytest.mark.spark
def test_errors_of_the_library_come_back_as_themselves(spark: Any, source: Path, tmp_path: Path) -> None:
    engine = SparkEngine(spark.sparkContext, "test")
    encode.encode(EncodeOptions(str(source), str(tmp_path / "archive")), engine)
    data = next((tmp_path / "archive").rglob("*.parquet"))
    damaged = bytearray(data.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    data.write_bytes(bytes(damaged))
    with pytest.raises(CorruptError):
        verify.verify(VerifyOptions(str(tmp_path / "archive"), str(source)), engine)


def test_a_fault_of_storage_is_left_to_spark_to_retry() -> None:
    import pickle

    with pytest.raises(StoreError):
        worker.run(pickle.dumps((_unreachable, 1)))
    assert worker.run(pickle.dumps((abs, -3))) == (True, 3)


def _unreachable(task: int) -> None:
    raise StoreError("the server does not answer")


def test_encode_finds_its_work_done_without_spark(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    encode.encode(EncodeOptions(str(source), str(tmp_path / "archive")))
    monkeypatch.setattr("jobs.encode.open_session", lambda name: pytest.fail("Spark was started"))
    encode_main([str(source), str(tmp_path / "archive"), "--stats", str(tmp_path / "stats")])
    assert "found done" in capsys.readouterr().out
    blocks = read_latest(str(tmp_path / "stats"), "blocks").to_pylist()
    assert len(blocks) == 6 and sum(row["rows"] for row in blocks if row["column"] == "id") == 1500


def test_statistics_of_an_archive_add_up(source: Path, tmp_path: Path) -> None:
    options = EncodeJobOptions(str(source), str(tmp_path / "archive"), stats=str(tmp_path / "stats"))
    report = encode.encode(options)
    record_archive(report, options)
    blocks = read_latest(options.stats, "blocks").to_pylist()
    (whole,) = read_latest(options.stats, "tables").to_pylist()
    on_disk = sum(path.stat().st_size for path in (tmp_path / "archive").rglob("*.parquet"))
    manifest = next((tmp_path / "archive" / MANIFESTS).iterdir()).stat().st_size
    assert whole["archive_bytes"] == on_disk + manifest
    assert 0 < sum(row["encoded_bytes"] for row in blocks) < on_disk
    assert sum(row["raw_bytes"] for row in blocks) == whole["arrow_bytes"]


def test_the_bundle_is_complete_and_the_same_each_time(tmp_path: Path) -> None:
    first, second = bundle.build(tmp_path / "a"), bundle.build(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    names = zipfile.ZipFile(first).namelist()
    for needed in (
        "mdlake/__init__.py",
        "mdlake/schemas/__init__.py",
        "mdlake/schemas/statistics.json",
        "mdlake/statistics/report.html",
        "jobs/encode.py",
        "ray_tasks/train.py",
    ):
        assert needed in names
    assert not [name for name in names if "__pycache__" in name]


def test_the_zip_is_unpacked_once_and_used_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = bundle.build(tmp_path)
    cache = tmp_path / "cache"
    cache.mkdir()
    target = worker.unpack(archive, cache)
    made = (target / "mdlake" / "__init__.py").stat().st_mtime_ns
    assert worker.unpack(archive, cache) == target
    assert (target / "mdlake" / "__init__.py").stat().st_mtime_ns == made
    assert [path.name for path in cache.iterdir()] == [target.name]
    monkeypatch.setattr(sys, "path", [str(archive)])
    monkeypatch.delitem(sys.modules, "mdlake")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    worker.use_unpacked()
    assert sys.path[0].startswith(str(tmp_path / "home")) and sys.path[1] == str(archive)
