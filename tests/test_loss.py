"""A stated loss: no value is ever farther from its source than its column's bound; every other column is exact."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import arrow_arrays, numeric_streams

import mdlake
from jobs.options import parse_options
from jobs.table_options import EncodeJobOptions
from mdlake import Absolute, Relative, block
from mdlake.archive.compare import first_difference
from mdlake.archive.encode import encode
from mdlake.archive.inspect import inspect
from mdlake.archive.loss import approximate, first_beyond
from mdlake.archive.options import EncodeOptions, InspectOptions, RestoreOptions, VerifyOptions, fill
from mdlake.archive.restore import restore
from mdlake.archive.verify import verify
from mdlake.engine import LocalEngine
from mdlake.error_bounds import ErrorBound, error_bound
from mdlake.lake.manifest import manifest_path
from mdlake.lake.store import open_store
from mdlake.streams import Kind

FLOATS = [Kind.F16, Kind.F32, Kind.F64]
SCHEMA = Path(__file__).parent.parent / "schemas" / "manifest.json"
LIMITS = st.one_of(st.sampled_from([0.01, 0.5, 1e-3, 1.0, 1e6]), st.floats(1e-300, 1e300))
BOUNDS = st.one_of(LIMITS.map(Absolute), LIMITS.map(Relative))


def assert_honoured(source: pa.Array, array: pa.Array, bound: ErrorBound) -> None:
    """In exact arithmetic; NaN payloads and infinities bit for bit, nulls where they were."""
    assert source.type == array.type and source.is_valid().equals(array.is_valid())
    for value, near in zip(source.drop_null(), array.drop_null(), strict=True):
        left, right = value.as_py(), near.as_py()
        if not np.isfinite(left):
            assert first_difference(pa.array([value]), pa.array([near])) is None
            continue
        limit = Fraction(bound.limit) * (abs(Fraction(left)) if isinstance(bound, Relative) else 1)
        assert abs(Fraction(left) - Fraction(right)) <= limit


@given(values=numeric_streams(FLOATS), bound=BOUNDS)
@settings(max_examples=200, deadline=None)
def test_every_value_honours_the_bound_whatever_its_bits(values: np.ndarray, bound: ErrorBound) -> None:
    source = pa.array(values)
    found = approximate(source, bound)
    assert_honoured(source, found.array, bound)
    assert first_beyond(source, found.array, bound) is None
    data = block.encode_array(found.array, "fast", path=found.path)
    back = block.decode_array(data, source.type, length=len(source))
    assert first_difference(back, found.array) is None
    assert len(data) <= len(block.encode_array(source, "fast"))


@given(source=st.sampled_from([pa.float16(), pa.float32(), pa.float64()]).flatmap(arrow_arrays), bound=BOUNDS)
@settings(max_examples=60, deadline=None)
def test_nulls_stay_where_they_were(source: pa.Array, bound: ErrorBound) -> None:
    assert_honoured(source, approximate(source, bound).array, bound)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("bound", [Absolute(0.02), Relative(0.01)])
def test_awkward_values_among_ordinary_ones(dtype: str, bound: ErrorBound) -> None:
    values = np.sin(np.arange(3000) / 50).astype(dtype)
    tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    values[:9] = [0.0, -0.0, np.nan, np.inf, -np.inf, tiny, -tiny, huge, -huge]
    payload = values.view(f"u{values.itemsize}")
    payload[9] = payload[2] | 1
    source = pa.array(values)
    found = approximate(source, bound)
    assert found.path
    assert_honoured(source, found.array, bound)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_smooth_series_takes_a_fraction_of_a_bit_for_each_value(dtype: str) -> None:
    t = np.arange(20_000)
    values = (20 + 8 * np.sin(t / 700) + 3 * np.sin(t / 93)).astype(dtype)
    values[5000:5010] = np.nan
    source = pa.array(values, mask=t % 997 == 0)
    found = approximate(source, Absolute(0.01))
    assert_honoured(source, found.array, Absolute(0.01))
    data = block.encode_array(found.array, path=found.path)
    assert first_difference(block.decode_array(data, source.type, length=len(t)), found.array) is None
    assert 8 * len(data) < 0.5 * len(t)


def test_a_walk_within_a_wide_bound_changes_seldom() -> None:
    walk = np.random.default_rng(2).normal(0, 1, 20_000).cumsum()
    found = approximate(pa.array(walk), Absolute(10.0))
    assert_honoured(pa.array(walk), found.array, Absolute(10.0))
    assert np.count_nonzero(np.diff(found.array.to_numpy())) < 20_000 / 50


def readings(rows: int = 4000) -> pa.Table:
    random = np.random.default_rng(5)
    return pa.table(
        {
            "i": range(rows),
            "temp": pa.array(20 + random.normal(0, 0.3, rows).cumsum(), mask=random.random(rows) < 0.1),
            "price": np.exp(random.normal(0, 2, rows)),
            "exact": random.normal(0, 1, rows),
        }
    )


BOUNDED = {"temp": Absolute(0.01), "price": "1e-3:rel"}


@pytest.mark.parametrize("effort", block.EFFORTS)
def test_an_archive_with_bounds_is_smaller_and_exact_elsewhere(effort: str, tmp_path: Path) -> None:
    table = readings()
    exact = mdlake.encode(table, tmp_path / "exact", effort)
    near = mdlake.encode(table, tmp_path / "near", effort, max_error=BOUNDED)
    assert near.archive_bytes < 0.75 * exact.archive_bytes
    opened = mdlake.open(tmp_path / "near")
    found = opened.to_table()
    assert opened.max_error == {"temp": Absolute(0.01), "price": Relative(1e-3)}
    assert found.schema.equals(table.schema, check_metadata=True)
    assert found.select(["i", "exact"]).equals(table.select(["i", "exact"]))
    for name, bound in opened.max_error.items():
        assert_honoured(table[name].combine_chunks(), found[name].combine_chunks(), bound)
        assert first_difference(table[name].combine_chunks(), found[name].combine_chunks()) is not None
    kept = opened.to_table(filter=pc.field("temp") > 20.5)
    assert kept.equals(found.filter(pc.field("temp") > 20.5))


def test_values_that_other_columns_explain_are_not_made_longer_by_a_bound(tmp_path: Path) -> None:
    """A sum that a formula gives for nothing is kept as it is."""
    random = np.random.default_rng(1)
    cents = random.integers(0, 100_000, (2, 4000))
    table = pa.table({"a": cents[0], "b": cents[1], "sum": (cents[0] + cents[1]).astype(np.float64)})
    exact = mdlake.encode(table, tmp_path / "exact")
    near = mdlake.encode(table, tmp_path / "near", max_error={"sum": Absolute(3)})
    stated = len('"max_error":{"sum":"3.0"},')
    assert near.archive_bytes <= exact.archive_bytes + stated
    assert mdlake.open(tmp_path / "near").to_table().equals(table)


def test_verify_restore_and_inspect_know_of_the_loss(tmp_path: Path) -> None:
    source, archive, back = (str(tmp_path / name) for name in ("s.parquet", "a", "back.parquet"))
    pq.write_table(readings(), source)
    encode(EncodeOptions(source, archive, max_error=BOUNDED))
    report = verify(VerifyOptions(archive, source))
    assert report.ok and report.allowed == ("column 'temp' within 0.01", "column 'price' within 0.001 of itself")
    exact = verify(VerifyOptions(archive, source, exact=True))
    assert not exact.ok and exact.difference and exact.difference.column == "temp"
    restore(RestoreOptions(archive, back))
    assert verify(VerifyOptions(archive, back, exact=True)).ok
    assert pq.read_schema(back).equals(pq.read_schema(source), check_metadata=True)
    off = readings().set_column(1, "temp", pc.call_function("add", [readings()["temp"], pa.scalar(0.021)]))
    pq.write_table(off, tmp_path / "off.parquet")
    difference = verify(VerifyOptions(archive, str(tmp_path / "off.parquet"))).difference
    assert difference and difference.column == "temp" and "which is not within 0.01" in difference.message
    other = readings().set_column(3, "exact", pc.call_function("add", [readings()["exact"], pa.scalar(1e-12)]))
    pq.write_table(other, tmp_path / "other.parquet")
    difference = verify(VerifyOptions(archive, str(tmp_path / "other.parquet"))).difference
    assert difference and difference.column == "exact"
    assert [c.max_error for c in inspect(InspectOptions(archive)).columns] == ["", "0.01", "0.001:rel", ""]
    body = json.loads(zstandard.decompress(open_store(archive).get(manifest_path(1))))
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(body)
    assert body["options"]["max_error"] == {"temp": "0.01", "price": "0.001:rel"}
    with pytest.raises(mdlake.InvalidArgumentError, match="exact compares with a source"):
        VerifyOptions(archive, exact=True)


def test_the_same_bytes_again_and_a_new_version_for_another_bound(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for i in range(2):
        pq.write_table(readings().slice(2000 * i, 2000), tmp_path / "source" / f"{i}.parquet")
    found = []
    for processes in (1, 2):
        archive = tmp_path / f"archive{processes}"
        options = EncodeOptions(str(tmp_path / "source"), str(archive), "fast", max_error=BOUNDED)
        encode(options, LocalEngine(processes))
        found.append({path.name: path.read_bytes() for path in archive.rglob("*") if path.is_file()})
        assert encode(options).already_done
    assert found[0] == found[1]
    again = encode(EncodeOptions(str(tmp_path / "source"), str(archive), "fast", max_error={"temp": 0.02}))
    assert (again.version, again.already_done) == (2, False)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"nope": 0.1}, "column 'nope': max_error names a column that is not there"),
        ({"i": 0.1}, "column 'i': max_error is for columns of float16, float32 or float64, this one is int64"),
        ({"nested": 0.1}, "column 'nested'.*this one is list<item: double>"),
        ({"temp": 0}, "column 'temp': .*positive and finite, not 0.0"),
        ({"temp": float("nan")}, "positive and finite"),
        ({"temp": "inf:rel"}, "positive and finite"),
        ({"temp": "much"}, "not 'much'"),
    ],
)
def test_bounds_that_cannot_be_are_refused(bounds: dict, message: str, tmp_path: Path) -> None:
    table = readings().append_column("nested", pa.array([[1.5]] * 4000))
    with pytest.raises(mdlake.InvalidArgumentError, match=message):
        mdlake.encode(table, tmp_path / "a", max_error=bounds)
    assert not (tmp_path / "a").exists()


def test_bounds_from_files_and_for_jobs(tmp_path: Path) -> None:
    file = tmp_path / "options.toml"
    file.write_text('max_error = { temp = 0.01, humid = 1, "a b" = "1e-3:rel" }\n')
    filled = fill(EncodeOptions, str(file), source="s", archive="a")
    job = parse_options(EncodeJobOptions, "encode", ["s", "a", "--options", str(file)], "")
    flags = ["s", "a", "--max-error", "temp=0.01", "--max-error", "humid=1", "--max-error", "a b=1e-3:rel"]
    expected = {"temp": Absolute(0.01), "humid": Absolute(1), "a b": Relative(1e-3)}
    for options in (filled, job, parse_options(EncodeJobOptions, "encode", flags, "")):
        assert options.error_bounds == expected
    file.write_text("max_error = { temp = true }\n")
    with pytest.raises(mdlake.InvalidArgumentError, match="not True"):
        fill(EncodeOptions, str(file), source="s", archive="a")


@given(bound=BOUNDS)
def test_a_bound_is_read_as_it_is_written(bound: ErrorBound) -> None:
    assert error_bound(str(bound)) == bound
