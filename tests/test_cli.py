"""The `mdlake` command as a user meets it: real processes, their output, their exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mdlake
from mdlake.archive.options import EncodeOptions, VacuumOptions, VerifyOptions, fill
from mdlake.archive.verify import verify
from mdlake.statistics import record

ROOT = Path(__file__).parent.parent


def mdlake_command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mdlake.cli", *map(str, arguments)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )


def ok(*arguments: object, **environment: str) -> str:
    done = mdlake_command(*arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = 5000
    table = pa.table({"n": range(rows), "f": np.arange(rows) / 8, "t": [f"text [{i % 7}]" for i in range(rows)]})
    pq.write_table(table, tmp_path / "source.parquet")
    return tmp_path / "source.parquet"


def test_a_table_goes_in_and_comes_out(source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    said = ok("encode", source, archive, "--effort", "fast")
    assert "encoded 5,000 rows" in said and "version 1" in said and "x smaller" in said
    assert "smaller than the Parquet" in said and "smaller than Arrow" in said
    assert "already done" in ok("encode", source, archive, "--effort", "fast")
    assert "1 block row\n" in re.sub(r" +\n", "\n", ok("inspect", archive))
    assert "whole and equal to the source: 5,000 rows, 3 blocks" in ok("verify", archive, source)
    assert "whole: 5,000 rows" in ok("verify", archive)
    assert "restored: 5,000 rows, 1 file," in ok("restore", archive, tmp_path / "back.parquet")
    assert pq.read_table(tmp_path / "back.parquet").equals(pq.read_table(source))
    ok("restore", archive, tmp_path / "folder", "--processes", "2", "--compression", "snappy")
    assert "already done" in ok("restore", archive, tmp_path / "folder", "--compression", "snappy")
    assert "deleted 0 manifests and 0 files" in ok("vacuum", archive)


def test_inspect_accounts_for_every_byte(source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    ok("encode", source, archive, "--rows-per-block", "2000")
    said = ok("inspect", archive)
    total = sum(path.stat().st_size for path in archive.rglob("*") if path.is_file())
    assert f"{total:,}" in said and "5,000 rows, 3 block rows" in said
    for text in ("n", "int64", "double", "string", "bits per value", "containers and manifest"):
        assert text in said


def test_a_loss_and_another_order_are_asked_for_and_told(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    key = random.integers(0, 9, 5000)
    table = pa.table({"k": key, "name": [f"name {k * k}" for k in key], "a=b": random.normal(0, 1, 5000)})
    source, archive = tmp_path / "s.parquet", tmp_path / "a"
    pq.write_table(table, source)
    said = ok("encode", source, archive, "--max-error", "a=b=0.01", "--reorder", "free", "--effort", "fast")
    assert "rows sorted in 1 of 1 block row\n" in said
    shown = " ".join(ok("inspect", archive).split())
    assert "max error 0.01" in shown and "sorted by" in shown and "order of rows" in shown
    said = ok("verify", archive, source)
    assert (
        "equal to the source, column 'a=b' within 0.01, rows sorted, their order given up, in 1 of 1 block rows" in said
    )
    refused = mdlake_command("verify", archive, source, "--exact")
    assert refused.returncode == 1 and "column 'a=b'" in refused.stderr


def test_errors_are_one_line_and_exit_code_one(source: Path, tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no Parquet at all, but long enough")
    for arguments, message in (
        (("encode", tmp_path / "nowhere", tmp_path / "a"), "nothing is there; check the URL"),
        (("encode", tmp_path / "text.parquet", tmp_path / "a"), "not a Parquet file"),
        (("encode", source, tmp_path / "a", "--effort", "heroic"), "effort 'heroic' is unknown"),
        (("encode", source, tmp_path / "a", "--coder", "magic"), "coder 'magic' is unknown"),
        (("encode", source, tmp_path / "a", "--max-error", "f"), "--max-error takes COLUMN=BOUND, 'f' has no '='"),
        (("encode", source, tmp_path / "a", "--max-error", "t=1"), "column 't': max_error is for columns of float16"),
        (("encode", source, tmp_path / "a", "--reorder", "up"), "choose one of none, reversible, free"),
        (("encode", source, tmp_path / "a", "--storage", "secret"), "KEY=VALUE"),
        (("encode", source, tmp_path / "a", "--storage", "bogus=1"), "no storage option 'bogus'"),
        (("restore", tmp_path / "nowhere", tmp_path / "r"), "no manifest"),
        (("restore", tmp_path / "nowhere", tmp_path / "r", "--compression", "bogus"), "zstd, snappy, gzip"),
        (("vacuum", tmp_path / "nowhere", "--retention-days", "-5"), "at least 0 days, not -5"),
        (("inspect", "ftp://x/y"), "unknown URL scheme"),
    ):
        done = mdlake_command(*arguments)
        assert done.returncode == 1 and message in done.stderr and not done.stdout
        assert len(done.stderr.strip().splitlines()) == 1 and done.stderr.startswith("mdlake: ")
    shown = mdlake_command("inspect", tmp_path / "nowhere", MDLAKE_TRACEBACK="1")
    assert shown.returncode == 1 and "Traceback" in shown.stderr


def test_wrong_usage_is_exit_code_two() -> None:
    for arguments in (("encode",), ("encode", "a", "b", "--no-such"), ("nonsense",), ("encode", "a", "b", "-p", "0")):
        assert mdlake_command(*arguments).returncode == 2


def test_verify_finds_one_flipped_bit_a_negative_zero_and_a_nan(tmp_path: Path) -> None:
    values = np.arange(1000, dtype=np.float64)
    values[7] = np.nan
    pq.write_table(pa.table({"k": range(1000), "f": values}), tmp_path / "s.parquet")
    ok("encode", tmp_path / "s.parquet", tmp_path / "archive")
    bits = values.view(np.uint64)
    changed = {}
    for row, change in ((500, 1), (0, 1 << 63), (7, 2)):  # the lowest bit, -0.0, another NaN
        other = bits.copy()
        other[row] ^= np.uint64(change)
        changed[f"column 'f', row {row}: the source has"] = pa.table({"k": range(1000), "f": other.view(np.float64)})
    table = pa.table({"k": range(1000), "f": values})
    nulled = pa.array(range(1000), mask=np.arange(1000) == 999)
    changed |= {
        "column 'k', row 999: the source has": table.set_column(0, "k", nulled),
        "has 999 rows, the archive 1000": table.slice(0, 999),
        "column 'k': column 0 is": table.set_column(0, "k", table["k"].cast("int32")),
        "columns or metadata": table.replace_schema_metadata({"a": "b"}),
        "column 'k', row 998: the source has": table.take([*range(998), 999, 998]),
    }
    for message, other in changed.items():
        pq.write_table(other, tmp_path / "other.parquet", row_group_size=300)
        report = verify(VerifyOptions(str(tmp_path / "archive"), str(tmp_path / "other.parquet")))
        assert not report.ok and message in str(report.difference)
    done = mdlake_command("verify", tmp_path / "archive", tmp_path / "other.parquet")
    assert done.returncode == 1 and "not equal to the source" in done.stderr and "column 'k', row 998" in done.stderr


def test_options_come_from_a_file_and_the_command_line_wins(source: Path, tmp_path: Path) -> None:
    options = tmp_path / "options.toml"
    options.write_text('effort = "fast"\nrows_per_block = 1000\ncoders = ["zstd"]\ncolumns = ["n", "t"]\n')
    ok("encode", source, tmp_path / "archive", "--options", options, "--rows-per-block", "2500")
    opened = mdlake.open(str(tmp_path / "archive"))
    assert opened.manifest.options["effort"] == "fast" and opened.schema.names == ["n", "t"]
    assert opened.manifest.files[0].rows == (2500, 2500)
    chosen = fill(EncodeOptions, str(options), source="s", archive="a", effort=None)
    assert chosen == EncodeOptions("s", "a", "fast", 1000, columns=("n", "t"), coders=("zstd",))
    assert fill(VacuumOptions, None, archive="a", grace_days=0.5).grace.total_seconds() == 43_200
    options.write_text("no_such_option = 1\n")
    with pytest.raises(mdlake.InvalidArgumentError, match="no option 'no_such_option'; there are"):
        fill(EncodeOptions, str(options), source="s", archive="a")
    for wrong, message in (
        ('rows_per_block = "x"', "rows_per_block must be a whole number, not 'x'"),
        ("effort = 3", "effort must be a text, not 3"),
        ("overwrite = 1", "overwrite must be true or false, not 1"),
        ('columns = "n"', "columns must be a list of texts, not 'n'"),
        ("coders = [1]", r"coders must be a list of texts, not \(1,\)"),
        ('storage = "secret"', "storage must be a table$"),
    ):
        options.write_text(wrong)
        with pytest.raises(mdlake.InvalidArgumentError, match=message):
            fill(EncodeOptions, str(options), source="s", archive="a")
    options.write_text("not toml")
    assert "no TOML" in mdlake_command("encode", source, tmp_path / "b", "--options", options).stderr


def test_s3_by_options_and_by_environment(source: Path, s3) -> None:
    bucket = s3.bucket()
    storage = [f"--storage={key}={value}" for key, value in s3.options.items()]
    ok("encode", source, f"{bucket}/a", *storage)
    ok("verify", f"{bucket}/a", source, **s3.environment())
    denied = mdlake_command("inspect", f"{bucket}/a", **{**s3.environment(), "AWS_SECRET_ACCESS_KEY": "wrong-one"})
    assert denied.returncode == 1 and "secret key is wrong" in denied.stderr and "wrong-one" not in denied.stderr


def test_help_and_version_are_fast_and_right() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert ok("--version") == f"mdlake {version}\n" == f"mdlake {mdlake.__version__}\n"
    shown = ok("--help")
    assert all(verb in shown for verb in ("encode", "restore", "verify", "inspect", "vacuum", "report", "model"))
    program = "import sys, mdlake.cli; print([m for m in ('numba', 'torch', 'pyarrow', 'numpy') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert loaded.stdout == "[]\n"


def test_models_can_be_looked_into_and_unpacked(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    from mdlake.artifact import save_model
    from mdlake.models.fitting import fit_features
    from tests.tiny_models import FEATURES, delays, model_of, shards_of, write_split

    model = model_of(fit_features(shards_of(write_split(tmp_path / "train", delays(200))), FEATURES, map))
    artifact = tmp_path / "model.safetensors"
    size = save_model(str(artifact), model)
    said = ok("model", "inspect", artifact)
    assert f"{size:,}" in said and all(name in said for name in model.module.state_dict())
    assert re.search(r"^[\d,]+ multiply-accumulates per row$", said, re.MULTILINE)
    assert "of weights to" in ok("model", "unpack", artifact)
    weights = safetensors.load_file(tmp_path / "model.unpacked.safetensors")
    assert weights.keys() == model.module.state_dict().keys()
    assert all(np.array_equal(weights[name], tensor.numpy()) for name, tensor in model.module.state_dict().items())
    again = mdlake_command("model", "unpack", artifact)
    onto = mdlake_command("model", "unpack", artifact, artifact)
    assert again.returncode == onto.returncode == 1 and "there is a file already" in again.stderr and not onto.stdout
    assert artifact.stat().st_size == size
    lost = mdlake_command("model", "inspect", tmp_path / "nowhere.safetensors")
    assert lost.returncode == 1 and lost.stderr.startswith("mdlake: ") and "does not exist" in lost.stderr


def test_the_report_is_written_into_the_lake(tmp_path: Path) -> None:
    sizes = {"stage": "encode", "rows": 10, "arrow_bytes": 1000, "archive_bytes": 321}
    record(str(tmp_path / "stats"), "tables", [sizes], run="one")
    assert ok("report", tmp_path).strip() == str(tmp_path / "report.html")
    assert "321" in (tmp_path / "report.html").read_text()
    (tmp_path / "other").mkdir()
    refused = mdlake_command("report", tmp_path / "other")
    assert refused.returncode == 1 and "this is no lake" in refused.stderr and not list((tmp_path / "other").iterdir())
