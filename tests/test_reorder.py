"""Reordered rows: smaller or as they were, back in order where that was promised, the same rows in any case."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from strategies import arrow_arrays

import mdlake
from mdlake import Absolute, block
from mdlake.archive.encode import commit, encode, plan, run
from mdlake.archive.inspect import inspect
from mdlake.archive.layout import ArchiveManifest
from mdlake.archive.options import EncodeOptions, InspectOptions, RestoreOptions, VerifyOptions
from mdlake.archive.reorder import key_ranks, original_rows, sorted_rows, take
from mdlake.archive.restore import restore
from mdlake.archive.verify import verify
from mdlake.columns import flatten
from mdlake.engine import LocalEngine
from mdlake.errors import CorruptError, InvalidArgumentError, UnsupportedVersionError
from mdlake.lake import manifest
from mdlake.lake.manifest import manifest_bytes, manifest_path, parse_manifest, read_manifest
from mdlake.lake.store import open_store
from mdlake.streams import same
from tests.tables import followers

SCHEMA = Path(__file__).parent.parent / "schemas" / "manifest.json"
OPTIONS = {"effort": "fast", "rows_per_block": 3000}


@pytest.fixture
def source(tmp_path: Path) -> str:
    pq.write_table(followers(5000), tmp_path / "s.parquet")
    return str(tmp_path / "s.parquet")


def rows_of(table: pa.Table) -> list[str]:
    return sorted(map(repr, table.to_pylist()))


@pytest.mark.parametrize("effort", block.EFFORTS)
@pytest.mark.parametrize("reorder", ["reversible", "free"])
def test_rows_are_the_same_and_in_order_where_promised(reorder: str, effort: str, source: str, tmp_path: Path) -> None:
    table = pq.read_table(source)
    plain = encode(EncodeOptions(source, str(tmp_path / "plain"), effort, depth=0))
    report = encode(EncodeOptions(source, str(tmp_path / "a"), effort, depth=0, reorder=reorder))
    assert report.archive_bytes < 0.9 * plain.archive_bytes
    found = mdlake.open(tmp_path / "a").to_table()
    assert found.equals(table) == (reorder == "reversible")
    assert rows_of(found) == rows_of(table)
    few = mdlake.open(tmp_path / "a").to_table(["own", "name"], pc.field("own") > 40)
    assert rows_of(few) == rows_of(table.select(["own", "name"]).filter(pc.field("own") > 40))


def test_verify_restore_and_inspect_know_of_the_order(source: str, tmp_path: Path) -> None:
    for reorder in ("reversible", "free"):
        archive, back = str(tmp_path / reorder), str(tmp_path / f"{reorder}.parquet")
        encode(EncodeOptions(source, archive, reorder=reorder, **OPTIONS))
        restore(RestoreOptions(archive, back))
        for place in (source, back):
            report = verify(VerifyOptions(archive, place))
            assert report.ok and bool(report.allowed) == (reorder == "free")
        assert pq.read_table(back).equals(pq.read_table(source)) == (reorder == "reversible")
        found = inspect(InspectOptions(archive))
        assert sum(blocks for _, blocks in found.orders) == 2
        assert (found.order_bytes > 0) == (reorder == "reversible")
        assert found.archive_bytes == sum(p.stat().st_size for p in Path(archive).rglob("*") if p.is_file())
        body = json.loads(zstandard.decompress(open_store(archive).get(manifest_path(1))))
        jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(body)
        assert body["format"] == (2 if reorder == "reversible" else 1)


def test_verify_finds_one_changed_value_and_names_its_row(source: str, tmp_path: Path) -> None:
    table = pq.read_table(source)
    lists = table["list"].to_pylist()
    lists[4321] = [-0.0]
    pq.write_table(table.set_column(4, "list", pa.array(lists)), tmp_path / "other.parquet")
    for reorder in ("reversible", "free"):
        encode(EncodeOptions(source, str(tmp_path / reorder), reorder=reorder, **OPTIONS))
        difference = verify(VerifyOptions(str(tmp_path / reorder), str(tmp_path / "other.parquet"))).difference
        assert difference and (difference.column, difference.row) == ("list", 4321)


def test_a_table_that_no_order_makes_shorter_is_kept_as_it_is(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    table = pa.table({"i": range(3000), "noise": random.normal(0, 1, 3000), "flag": random.integers(0, 2, 3000)})
    plain = mdlake.encode(table, tmp_path / "plain")
    for reorder in ("reversible", "free"):
        report = mdlake.encode(table, tmp_path / reorder, reorder=reorder)
        assert mdlake.open(tmp_path / reorder).to_table().equals(table)
        assert report.archive_bytes <= plain.archive_bytes + len(f'"reorder":"{reorder}",')
        assert not any(file.orders for file in mdlake.open(tmp_path / reorder).manifest.files)


def test_rows_are_not_sorted_by_values_that_may_be_off(tmp_path: Path) -> None:
    table = followers(4000)
    level = pa.array(table["code"].to_numpy() / 3.0)
    table = table.append_column("level", level)
    pq.write_table(table, tmp_path / "s.parquet")
    options = EncodeOptions(
        str(tmp_path / "s.parquet"), str(tmp_path / "a"), max_error={"level": Absolute(1e9)}, reorder="free", depth=0
    )
    encode(options)
    opened = mdlake.open(tmp_path / "a")
    assert all(o and 6 not in o.columns for file in opened.manifest.files for o in file.orders)
    assert verify(VerifyOptions(options.archive, options.source)).ok
    assert not verify(VerifyOptions(options.archive, options.source, exact=True)).ok


def test_a_killed_run_continues_and_any_number_of_processes_make_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for i in range(3):
        pq.write_table(followers(3000).slice(1000 * i, 1000), tmp_path / "source" / f"{i}.parquet")
    found = []
    for processes in (1, 2):
        options = EncodeOptions(str(tmp_path / "source"), str(tmp_path / f"a{processes}"), "fast", reorder="reversible")
        encode(options, LocalEngine(processes))
        found.append({p.name: p.read_bytes() for p in (tmp_path / f"a{processes}").rglob("*") if p.is_file()})
    assert found[0] == found[1]
    killed = EncodeOptions(str(tmp_path / "source"), str(tmp_path / "killed"), "fast", reorder="reversible")
    for task in plan(killed).tasks[:2]:
        run(task)
    again = plan(killed)
    report = commit(again, [run(task) for task in again.tasks])
    assert report.reused_tasks == 2
    assert {p.name: p.read_bytes() for p in (tmp_path / "killed").rglob("*") if p.is_file()} == found[0]


def test_damage_to_the_order_is_found(source: str, tmp_path: Path) -> None:
    encode(EncodeOptions(source, str(tmp_path / "a"), reorder="reversible", **OPTIONS))
    store = open_store(tmp_path / "a")
    (file,) = mdlake.open(tmp_path / "a").manifest.files
    order = file.order(1)
    assert order
    path = tmp_path / "a" / file.path
    data = bytearray(path.read_bytes())
    data[order.offset + order.bytes // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(CorruptError, match="checksum"):
        mdlake.open(tmp_path / "a").to_table(["own"])
    _, body = read_manifest(store)
    for wrong in ([[9], 1, 1, 1], [[0], 1 << 40, 9, 1], [[], 1, 1, 1], [[0], -1, 1, 1], [[0], 1]):
        body["files"][0]["order"][0] = wrong
        with pytest.raises(CorruptError):
            ArchiveManifest.from_json(body)


def test_a_reader_of_format_1_refuses_stored_orders(source: str, tmp_path: Path, monkeypatch) -> None:
    encode(EncodeOptions(source, str(tmp_path / "a"), reorder="reversible", **OPTIONS))
    _, body = read_manifest(open_store(tmp_path / "a"))
    data = manifest_bytes(body)
    monkeypatch.setattr(manifest, "FORMAT", 1)
    with pytest.raises(UnsupportedVersionError, match="format version 2"):
        parse_manifest(data)


def test_what_cannot_be_reordered_is_refused_by_name(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array([["a"]], pa.list_(pa.string_view()))})
    with pytest.raises(InvalidArgumentError, match=r"column 'x': .*cannot be reordered"):
        mdlake.encode(table, tmp_path / "a", reorder="free")
    with pytest.raises(InvalidArgumentError, match="reorder 'sorted' is unknown; choose one of none, reversible, free"):
        mdlake.encode(table, tmp_path / "a", reorder="sorted")
    assert not (tmp_path / "a").exists()


@given(array=arrow_arrays())
@settings(max_examples=100, deadline=None)
def test_any_array_goes_and_comes_back(array: pa.Array) -> None:
    keys = pa.array([(7 * i) % 4 for i in range(len(array))], pa.int64())
    ranks = key_ranks([keys], (0,))
    assert ranks is not None
    try:
        moved = take(array, sorted_rows(ranks))
    except InvalidArgumentError:  # the type is refused before anything is written
        return
    back = take(moved, original_rows(ranks))
    pairs = list(zip(flatten(back), flatten(array), strict=True))
    assert back.type.equals(array.type) and all(
        left[0] == right[0] and same(left[1], right[1]) for left, right in pairs
    )
