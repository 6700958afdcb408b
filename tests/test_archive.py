"""Archives: what goes in comes out bit for bit, whatever the types, names and options; only what is needed is read."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import zstandard

import mdlake
from mdlake import block
from mdlake.archive.compare import first_difference
from mdlake.archive.encode import encode
from mdlake.archive.options import EncodeOptions, RestoreOptions, VerifyOptions
from mdlake.archive.reader import Archive
from mdlake.archive.restore import restore
from mdlake.archive.verify import verify
from mdlake.engine import LocalEngine
from mdlake.lake.dataset import list_parquet
from mdlake.lake.manifest import FOLDER as MANIFESTS
from mdlake.lake.manifest import manifest_path, stored_schema
from mdlake.lake.store import open_store
from tests.tables import every_type, odd_names

SCHEMA = Path(__file__).parent.parent / "schemas" / "manifest.json"


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    """Same schema with all metadata, same rows, bit for bit."""
    assert stored_schema(found.schema).equals(stored_schema(expected.schema), check_metadata=True)
    assert found.num_rows == expected.num_rows
    for i, name in enumerate(expected.schema.names):
        ours, theirs = (pa.concat_arrays(t.column(i).chunks) if t.num_rows else None for t in (found, expected))
        if theirs is not None and ours is not None:
            ours.validate(full=True)
            assert first_difference(ours, theirs) is None, name


def read_parquet(url: str) -> pa.Table:
    """All rows of Parquet files, without the dataset layer, which stumbles over duplicate names."""
    files = [pq.ParquetFile(open_store(f.root).reader(f.path)).read() for f in list_parquet(url)]
    return pa.concat_tables(files)


def numbers(rows: int) -> pa.Table:
    """Rows in order of `i`, with a column that has nulls."""
    return pa.table(
        {
            "i": range(rows),
            "text": [f"row {i // 10:05d}" for i in range(rows)],
            "third": [None if i % 3 else i / 7 for i in range(rows)],
        }
    )


def test_lists_of_no_items_differ_by_their_nulls() -> None:
    kind = pa.list_(pa.float32(), 0)
    assert first_difference(pa.array([[], None], kind), pa.array([[], None], kind)) is None
    assert first_difference(pa.array([[], None], kind), pa.array([[], []], kind)) == 1
    nested = pa.list_(kind, 2)
    assert first_difference(pa.array([[[], []]], nested), pa.array([[[], None]], nested)) == 0


@pytest.mark.parametrize("effort", block.EFFORTS)
def test_every_type_comes_back_from_memory(effort: str, tmp_path: Path) -> None:
    table = every_type()
    report = mdlake.encode(table, tmp_path, effort)
    assert (report.rows, report.columns) == (table.num_rows, table.num_columns)
    assert_same(mdlake.open(tmp_path).to_table(), table)


@pytest.mark.parametrize("rows_per_block", [2, 1000])
def test_every_type_comes_back_from_parquet(rows_per_block: int, tmp_path: Path) -> None:
    source, archive, target = (str(tmp_path / name) for name in ("s.parquet", "archive", "t.parquet"))
    pq.write_table(every_type(), source, row_group_size=3)
    mdlake.encode(Path(source), archive, rows_per_block=rows_per_block)
    assert_same(mdlake.open(archive).to_table(), read_parquet(source))
    restore(RestoreOptions(archive, target))
    assert_same(read_parquet(target), read_parquet(source))
    for place in (source, target):
        assert verify(VerifyOptions(archive, place)).ok


@pytest.mark.parametrize("rows", [0, 3])
def test_odd_names_come_back(rows: int, tmp_path: Path) -> None:
    source, archive = str(tmp_path / "s.parquet"), str(tmp_path / "archive")
    table = odd_names().slice(0, rows)
    pq.write_table(table, source)
    encode(EncodeOptions(source, archive))
    opened = mdlake.open(archive)
    assert_same(opened.to_table(), table)
    restore(RestoreOptions(archive, str(tmp_path / "restored")))
    assert_same(read_parquet(str(tmp_path / "restored")), table)
    assert opened.to_table(["a"]).num_columns == 2 and opened.to_table([1]).num_columns == 1
    assert_same(opened.to_table(["é", 0]), table.select([8, 0]))
    names = [pq.read_schema(file).names for file in (tmp_path / "archive" / "data").glob("*")]
    assert all(len({name.lower() for name in found}) == table.num_columns for found in names)


def test_tables_without_rows_or_columns(tmp_path: Path) -> None:
    for number, table in enumerate(
        (
            numbers(0),
            every_type().slice(0, 0),
            pa.table({}),
            numbers(5).select([]),
            numbers(5).select([]).replace_schema_metadata({"k": "v"}),
        )
    ):
        archive = str(tmp_path / str(number))
        mdlake.encode(table, archive)
        opened = mdlake.open(archive)
        assert_same(opened.to_table(), table)
        assert verify(VerifyOptions(archive)).rows == opened.num_rows == table.num_rows
    empty = str(tmp_path / "empty.parquet")
    pq.write_table(numbers(0), empty)
    encode(EncodeOptions(empty, str(tmp_path / "e")))
    restore(RestoreOptions(str(tmp_path / "e"), str(tmp_path / "back.parquet")))
    assert_same(read_parquet(str(tmp_path / "back.parquet")), numbers(0))


def test_one_huge_value(tmp_path: Path) -> None:
    table = pa.table({"x": [b"", bytes(range(256)) * 40_000, None]})
    mdlake.encode(table, str(tmp_path), "fast", bytes_per_block=1 << 20)
    assert_same(mdlake.open(str(tmp_path)).to_table(), table)


def test_block_rows_do_not_depend_on_row_groups(tmp_path: Path) -> None:
    table = numbers(1000)
    for size in (7, 333, 1000):
        source, archive = str(tmp_path / f"{size}.parquet"), str(tmp_path / f"a{size}")
        pq.write_table(table, source, row_group_size=size)
        encode(EncodeOptions(source, archive, effort="fast", rows_per_block=300))
        opened = mdlake.open(archive)
        assert [file.rows for file in opened.manifest.files] == [(300, 300, 300, 100)]
        assert [batch.num_rows for batch in opened.to_batches()] == [300, 300, 300, 100]
        assert_same(opened.to_table(), table)


def test_one_process_and_two_make_the_same_bytes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for i in range(3):
        (source / f"part={i}").mkdir(parents=True)
        pq.write_table(numbers(400).slice(100 * i), source / f"part={i}" / "x.parquet", row_group_size=10)
    found = []
    for processes in (1, 2):
        archive = tmp_path / f"archive{processes}"
        options = EncodeOptions(str(source), str(archive), effort="fast", rows_per_block=20)
        encode(options, LocalEngine(processes))
        found.append({p.relative_to(archive): p.read_bytes() for p in archive.rglob("*") if p.is_file()})
    assert found[0] == found[1] and len(found[0]) > 4


def test_schemas_reach_other_processes_as_they_are(tmp_path: Path) -> None:
    """Arrow's own pickling renames the items of fixed-size lists and forgets nullability and metadata."""
    item = pa.field("element", pa.float32(), nullable=False, metadata={"of": "item"})
    schema = pa.schema([pa.field("v", pa.list_(item, 2), metadata={"of": "column"}), ("i", pa.int64())], {"of": "all"})
    source = tmp_path / "source"
    source.mkdir()
    for i in range(2):
        columns = [pa.array([[i, 1.5]] * 50, schema.field("v").type), pa.array(range(50))]
        pq.write_table(pa.table(columns, schema=schema), source / f"{i}.parquet", use_compliant_nested_type=False)
    found = []
    for processes in (1, 2):
        archive, target, engine = tmp_path / f"a{processes}", tmp_path / f"r{processes}", LocalEngine(processes)
        encode(EncodeOptions(str(source), str(archive), effort="fast"), engine)
        restore(RestoreOptions(str(archive), str(target)), engine)
        assert verify(VerifyOptions(str(archive), str(source)), engine).ok
        assert_same(read_parquet(str(target)), read_parquet(str(source)))
        folders = (archive, target)
        found.append([{p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()} for folder in folders])
    assert found[0] == found[1] and len(found[0][0]) == len(found[0][1]) == 3
    assert read_parquet(str(target)).schema.field("v").type.value_field.equals(item, check_metadata=True)


def test_a_restored_folder_is_read_by_anyone(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for i in range(2):
        pq.write_table(numbers(50).slice(25 * i, 25), tmp_path / "source" / f"{i}.parquet")
    encode(EncodeOptions(str(tmp_path / "source"), str(tmp_path / "archive"), effort="fast"))
    restore(RestoreOptions(str(tmp_path / "archive"), str(tmp_path / "restored")))
    assert pq.read_table(tmp_path / "restored").equals(numbers(50))
    assert ds.dataset(tmp_path / "restored").to_table().equals(numbers(50))
    (tmp_path / "restored" / MANIFESTS / "stray.parquet").write_bytes(b"not data")
    assert [file.path for file in list_parquet(str(tmp_path / "restored"))] == ["0.parquet", "1.parquet"]


def test_the_container_is_parquet_that_any_reader_lists(tmp_path: Path) -> None:
    table = numbers(50)
    mdlake.encode(table, str(tmp_path), rows_per_block=20)
    (file,) = (tmp_path / "data").glob("*")
    container = pq.ParquetFile(file, page_checksum_verification=True)
    assert container.metadata.num_row_groups == 3 and container.schema_arrow.names == table.schema.names
    cells = container.read().column("i")
    values = [
        block.decode_array(cell.as_py(), pa.int64(), length=rows)
        for cell, rows in zip(cells, (20, 20, 10), strict=True)
    ]
    assert pa.concat_arrays(values).equals(table["i"].combine_chunks())


def test_manifests_follow_their_schema(tmp_path: Path) -> None:
    rules = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    pq.write_table(every_type(), tmp_path / "s.parquet")
    encode(EncodeOptions(str(tmp_path / "s.parquet"), str(tmp_path / "a"), rows_per_block=3))
    restore(RestoreOptions(str(tmp_path / "a"), str(tmp_path / "r")))
    mdlake.encode(numbers(0), str(tmp_path / "z"))
    for folder in ("a", "r", "z"):
        rules.validate(json.loads(zstandard.decompress(open_store(tmp_path / folder).get(manifest_path(1)))))


def test_secrets_and_times_stay_out_of_what_is_stored(s3) -> None:
    bucket = s3.bucket()
    store = open_store(bucket, s3.options)
    with store.writer("source/x.parquet") as sink:
        pq.write_table(numbers(10), sink)
    options = EncodeOptions(f"{bucket}/source", f"{bucket}/archive", storage=s3.options)
    assert "secret" not in repr(options)
    encode(options)
    for info in store.list("archive"):
        assert b"secret" not in store.get(info.path) and b"-key" not in store.get(info.path)


FILTERS = [
    (pc.field("i") == 17, 1),
    (pc.field("i") > 95, 1),
    ((pc.field("i") < 12) | (pc.field("i") > 88), 4),
    (pc.field("i").isin([5, 55]), 2),
    (pc.field("text") == "row 00003", 1),
    (pc.field("third").is_null(), 10),
    (pc.field("third") > 12, 2),
    (~(pc.field("third") > 12), 10),
    (pc.field("i") * 2 == 84, 10),
    ([("i", ">=", 20), ("third", "<", 4)], 1),
    ([[("i", "==", 3)], [("i", "==", 93)]], 2),
    (pc.field("i") > 1000, 0),
]


@pytest.mark.parametrize(("filter", "most_read"), FILTERS, ids=[str(f) for f, _ in FILTERS])
def test_filters_are_exact_and_skip_block_rows(filter, most_read: int, tmp_path: Path, monkeypatch) -> None:
    table = numbers(100)
    mdlake.encode(table, str(tmp_path), "fast", rows_per_block=10)
    read = []
    opened = mdlake.open(str(tmp_path))
    ranges = opened.store.get_ranges
    monkeypatch.setattr(opened.store, "get_ranges", lambda *args: read.append(args) or ranges(*args))
    expression = filter if isinstance(filter, pc.Expression) else pq.filters_to_expression(filter)
    found = opened.to_table(["text"], filter)
    assert found.equals(table.filter(expression).select(["text"]))
    assert len(read) <= most_read
    assert opened.to_table(filter=filter).equals(table.filter(expression))
    assert opened.to_table([], filter).num_rows == found.num_rows


def test_nan_never_hides_rows(tmp_path: Path) -> None:
    table = pa.table({"x": [6.0, float("nan"), 7.0], "n": pa.array([None, None, None], pa.int32())})
    mdlake.encode(table, str(tmp_path))
    opened = mdlake.open(str(tmp_path))
    assert opened.to_table(filter=~(pc.field("x") > 5)).num_rows == 1
    assert opened.to_table(filter=pc.field("n").is_null()).num_rows == 3
    assert opened.to_table(filter=pc.field("n").is_valid()).num_rows == 0


def test_every_type_can_be_filtered(tmp_path: Path) -> None:
    table = every_type()
    mdlake.encode(table, str(tmp_path), "fast", rows_per_block=2)
    opened = mdlake.open(str(tmp_path))
    compared = 0
    for field in table.schema:
        values = table[field.name].combine_chunks()
        nulls = [i for i, value in enumerate(values) if not value.is_valid]
        shown = table.select([field.name, "never null"])
        assert_same(opened.to_table(shown.column_names, pc.field(field.name).is_null()), _rows(shown, nulls))
        for value in values:
            try:
                expression = pc.field(field.name) <= value
                flags = pa.table({field.name: values}).filter(expression).num_rows
                mask = values.is_valid() if not value.is_valid else pc.call_function("less_equal", [values, value])
            except (pa.ArrowNotImplementedError, pa.ArrowInvalid, TypeError):  # Arrow does not compare this type
                break
            rows = [i for i, flag in enumerate(mask.to_pylist()) if flag and value.is_valid]
            assert flags == len(rows)
            assert_same(opened.to_table(shown.column_names, expression), _rows(shown, rows))
            compared += 1
    assert compared > 20 * table.num_rows


def _rows(table: pa.Table, rows: list[int]) -> pa.Table:
    """Some rows by number; Arrow's own take does not know every type."""
    return pa.concat_tables([table.slice(0, 0), *(table.slice(i, 1) for i in rows)])


def test_unknown_columns_and_filters_are_refused(tmp_path: Path) -> None:
    mdlake.encode(numbers(5), str(tmp_path))
    opened = mdlake.open(str(tmp_path))
    for columns in (["nope"], [3], [-1]):
        with pytest.raises(mdlake.InvalidArgumentError, match="no column"):
            opened.to_table(columns)
    for filter in (pc.field("nope") == 1, [("i", "~", 1)], pc.field("text") > 3):
        with pytest.raises(mdlake.InvalidArgumentError, match="filter"):
            opened.to_table(filter=filter)


def test_columns_can_be_chosen_when_encoding(tmp_path: Path) -> None:
    table = pa.table({"a.b": [1, 2], "a": [{"b": 1}, {"b": 2}], "c": ["x", "y"]})
    pq.write_table(table, tmp_path / "s.parquet")
    source, archive = str(tmp_path / "s.parquet"), str(tmp_path / "a")
    encode(EncodeOptions(source, archive, columns=("a.b", "c")))
    assert_same(mdlake.open(archive).to_table(), table.select(["a.b", "c"]))
    assert verify(VerifyOptions(archive, source)).ok
    with pytest.raises(mdlake.InvalidArgumentError, match="no columns"):
        encode(EncodeOptions(source, str(tmp_path / "b"), columns=("nope",)))


def test_files_may_differ_in_metadata_but_not_in_columns(tmp_path: Path) -> None:
    source, archive = tmp_path / "source", str(tmp_path / "archive")
    source.mkdir()
    for i in range(3):
        pq.write_table(numbers(5).replace_schema_metadata({"file": str(min(i, 1))}), source / f"{i}.parquet")
    encode(EncodeOptions(str(source), archive))
    restore(RestoreOptions(archive, str(tmp_path / "restored")))
    for i in range(3):
        assert_same(pq.read_table(tmp_path / "restored" / f"{i}.parquet"), pq.read_table(source / f"{i}.parquet"))
    assert verify(VerifyOptions(archive, str(source))).ok
    pq.write_table(numbers(5).drop_columns(["third"]), source / "9.parquet")
    with pytest.raises(mdlake.InvalidArgumentError, match=r"9\.parquet.*2 columns.*first file has 3"):
        encode(EncodeOptions(str(source), str(tmp_path / "other")))


def test_flights_manifest_is_small(tmp_path: Path) -> None:
    names = [f"a_typical_column_{i}" for i in range(19)]
    table = pa.table({name: range(1000) for name in names})
    mdlake.encode(table, str(tmp_path))
    assert open_store(tmp_path).head(manifest_path(1)).size < 2500


def test_the_golden_archives_of_every_format_are_read() -> None:
    """Written once by tests/make_golden_archive.py, never changed: what a release wrote, every later one reads."""
    folders = sorted((Path(__file__).parent / "golden").glob("archive-*"))
    assert [folder.name for folder in folders] == ["archive-v1", "archive-v2", "archive-v2-zst"]
    for folder in folders:
        with pa.OSFile(str(folder / "expected.arrow")) as file:
            expected = pa.ipc.open_file(file).read_all()
        for version in (1, 2):
            assert_same(mdlake.open(str(folder), version).to_table(), expected)
            assert verify(VerifyOptions(str(folder), version=version)).ok


def test_archives_on_s3(s3) -> None:
    bucket = s3.bucket()
    url, target = bucket + "/deep/er archive", bucket + "/restored"
    table = every_type()
    mdlake.encode(table, url, "fast", storage=s3.options)
    opened = mdlake.open(url, storage=s3.options)
    assert isinstance(opened, Archive)
    assert_same(opened.to_table(), table)
    with pytest.raises(mdlake.StoreError, match="secret key is wrong"):
        mdlake.open(url, storage=s3.credentials("writer", secret="wrong"))
    restored = restore(RestoreOptions(url, target, storage=s3.options))
    assert restored.rows == table.num_rows
    assert verify(VerifyOptions(url, target, storage=s3.options)).ok


def test_what_is_no_table_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(mdlake.InvalidArgumentError, match=r"not dict; make one first.*from_pandas"):
        mdlake.encode({"a": [1]}, tmp_path / "archive")  # type: ignore[arg-type]
