"""Promise: why a block is as it is can be told, adds up to its bytes, is measured where it says so, and costs nothing
where nobody asks."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import every_type
from typer.testing import CliRunner

import mdlake
from jobs.encode import main as encode_main
from jobs.encode import record_archive
from jobs.table_options import EncodeJobOptions
from mdlake import block
from mdlake.archive import encode, explain
from mdlake.archive.explain import ColumnExplanation, Line
from mdlake.archive.inspect import inspect
from mdlake.archive.options import InspectOptions
from mdlake.block_row import encode_row
from mdlake.cli import app
from mdlake.encodings import ENCODINGS
from mdlake.engine import LocalEngine
from mdlake.errors import CorruptError, InvalidArgumentError
from mdlake.explanation import FIGURES, Explanation, Sort, Watcher, explain_block
from mdlake.statistics import read_latest
from mdlake.statistics.report import report

ROWS = 4000


def related() -> pa.Table:
    """A sum of two columns, a name that follows from a key but for some rows, and one column of its own."""
    random = np.random.default_rng(5)
    fare, tip, key = random.integers(0, 5000, ROWS), random.integers(0, 900, ROWS), random.integers(0, 300, ROWS)
    name = np.array([f"{k % 11} of {k * k % 97}" for k in range(300)])[key]
    name[random.integers(0, ROWS, 20)] = "elsewhere"
    noise = random.normal(0, 1, ROWS).round(3)
    return pa.table({"fare": fare, "tip": tip, "total": fare + tip, "key": key, "name": name, "noise": noise})


def explained(table: pa.Table, effort: str = "default", full: bool = False) -> dict[str, tuple[bytes, Explanation]]:
    """Of each column its block, and why it is so."""
    names, watcher = table.schema.names, Watcher(table.schema.names, full)
    arrays = [column.combine_chunks() for column in table.combine_chunks().columns]
    rows = encode_row(table.schema, arrays, effort, watch=watcher)
    return {names[position]: (data, watcher.explain(data)) for position, _, data in rows}


def columns_of(found: explain.ExplainReport) -> dict[str, ColumnExplanation]:
    return {column.name: column for column in found.columns}


@pytest.mark.parametrize("effort", block.EFFORTS)
@pytest.mark.parametrize("make", [related, every_type])
def test_the_parts_of_a_block_and_its_header_are_all_of_it(make, effort: str) -> None:
    for data, why in explained(make(), effort).values():
        described = block.describe(data)
        assert why.bytes == len(data) == why.header_bytes + sum(part.bytes for part in why.parts)
        assert why.header_bytes == block.HEADER_SIZE + len(_varint(described.length)) + 1 + len(described.parents)
        for part in (part for stream in why.parts for part in stream.all()):
            assert part.own_bytes > 0 and part.role
        assert sum(why.spent(sort) for sort in Sort) == sum(part.bytes for part in why.parts)
        assert [part.bytes for part in why.parts] == [stream.encoded_bytes for stream in described.streams]


def test_children_are_called_what_they_are() -> None:
    for encoding in ENCODINGS.values():
        assert encoding.roles and all(place < len(encoding.roles) for place in encoding.repairs)
    values = explained(related())["name"][1].parts[1]
    assert values.role == "values" and values.told.startswith("lookup[300] by key") and values.needs == ("key",)
    assert [part.role for part in values.parts] == ["values", "places of exceptions", "exceptions"]
    assert [part.sort for part in values.parts] == [Sort.TABLE, Sort.EXCEPTIONS, Sort.EXCEPTIONS]


@pytest.mark.parametrize("effort", block.EFFORTS)
def test_a_search_that_is_watched_chooses_the_same(effort: str) -> None:
    table = related()
    arrays = [column.combine_chunks() for column in table.columns]
    alone = {table.schema.names[position]: data for position, _, data in encode_row(table.schema, arrays, effort)}
    for full in (False, True) if effort != "max" else (False,):
        assert {name: data for name, (data, _) in explained(table, effort, full).items()} == alone


def test_a_runner_up_that_was_measured_is_never_shorter() -> None:
    for make in (related, every_type):
        for effort in ("fast", "default"):
            for data, why in explained(make(), effort).values():
                if why.runner_up and not why.runner_up.estimated:
                    assert why.runner_up.bytes >= len(data)
    chosen, why = explained(related(), full=True)["noise"]
    assert why.runner_up and not why.runner_up.estimated and why.runner_up.bytes > len(chosen)
    first = block.describe(chosen).chain.split("(")[0].split("[")[0]
    assert not why.runner_up.chain.startswith(first)


def test_a_column_that_is_a_formula_of_two_others_names_both_and_what_they_save() -> None:
    table = related()
    sums = ("fare", "tip", "total")  # which one of the three follows from the others is the search's choice
    found = explained(table, full=True)
    ((name, (data, why)),) = [(name, found[name]) for name in sums if found[name][1].parents]
    assert set(why.parents) == set(sums) - {name}
    assert len(why.relations) == 1 and why.relations[0].startswith("formula[difference (")
    assert all(parent in why.relations[0] for parent in why.parents) and "parent0" not in why.relations[0]
    alone = len(block.encode_array(table[name].combine_chunks()))
    assert why.alone_bytes == alone and why.saved_bytes == alone - len(data) > 1000


def test_what_a_column_takes_alone_is_told_about_right_by_a_sample() -> None:
    table = related()
    quick, full = explained(table), explained(table, full=True)
    for name, (_, why) in quick.items():
        exact = full[name][1].alone_bytes
        assert (why.alone_bytes is None) == (exact is None) == (not why.parents) and why.estimated
        if why.alone_bytes is not None and exact is not None:
            assert 0.75 * exact < why.alone_bytes < 1.25 * exact


@pytest.mark.parametrize(
    "options",
    [
        {"effort": "fast"},
        {"effort": "max", "depth": 1},
        {"coders": ("zstd",)},
        {"reorder": "reversible"},
        {"max_error": {"noise": 0.01}},
        {"rows_per_block": 1500},
    ],
    ids=str,
)
def test_an_archive_is_explained_by_its_own_search_repeated(options: dict, tmp_path: Path) -> None:
    mdlake.encode(related(), tmp_path / "a", **options)
    found = mdlake.explain(tmp_path / "a")
    assert [column.name for column in found.columns] == related().schema.names
    assert all(column.repeated and column.found_bytes == column.explanation.bytes for column in found.columns)
    entries = mdlake.open(tmp_path / "a").manifest.files[0].blocks[0]
    assert [column.explanation.bytes for column in found.columns] == [entry.bytes for entry in entries]


def test_lines_add_up(tmp_path: Path) -> None:
    mdlake.encode(related(), tmp_path / "a", effort="max")
    for column in mdlake.explain(tmp_path / "a").columns:
        lines = [
            line for line in column.lines() if line.what not in ("runner-up", "runner-up, shorter", "alone", "saved")
        ]
        lines.insert(0, Line(0, column.name, column.type, column.explanation.bytes))
        inner = 0
        for i, line in enumerate(lines):
            under = list(takewhile(lambda other, depth=line.depth: other.depth > depth, lines[i + 1 :]))
            children = [other for other in under if other.depth == line.depth + 1]
            assert not children or sum(child.bytes for child in children) == line.bytes
            names = [child.what for child in children]
            assert len(set(names)) == len(names)
            inner += bool(children)
        assert inner


def test_bounds_and_sorted_rows_are_told_and_a_report_reads_as_text(tmp_path: Path) -> None:
    mdlake.encode(related(), tmp_path / "a", reorder="free", max_error={"noise": 0.01})
    found = mdlake.explain(tmp_path / "a")
    assert columns_of(found)["noise"].max_error == "0.01"
    order = mdlake.open(tmp_path / "a").manifest.files[0].order(0)
    assert order and not found.order_bytes
    assert f"sorted by {', '.join(related().schema.names[i] for i in order.columns)}\n" in str(found)
    assert all(
        f"\n{column.name}  {column.type}  {column.explanation.bytes:,}\n" in str(found) for column in found.columns
    )
    mdlake.encode(related().slice(0, 0), tmp_path / "nothing")
    with pytest.raises(InvalidArgumentError, match="no rows, so there is no block to explain"):
        mdlake.explain(tmp_path / "nothing")


def test_inspect_names_the_columns_in_a_chain(tmp_path: Path) -> None:
    mdlake.encode(related(), tmp_path / "a")
    summaries = inspect(InspectOptions(str(tmp_path / "a"))).columns
    assert any(summary.parents == ("tip", "total") and "(total - tip)" in summary.chain for summary in summaries)
    assert not any("parent" in summary.chain for summary in summaries)


def test_a_block_that_the_search_does_not_find_again_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mdlake.encode(related(), tmp_path / "a")

    def another(schema, columns, effort, *rest):
        return encode_row(schema, columns, "fast", *rest)

    monkeypatch.setattr("mdlake.archive.explain.encode_row", another)
    found = columns_of(mdlake.explain(tmp_path / "a"))["name"]
    stored = mdlake.open(tmp_path / "a").manifest.files[0].blocks[0][4].bytes
    assert not found.repeated and found.explanation.bytes == stored != found.found_bytes
    assert [line.bytes for line in found.lines() if line.what == "not repeated"] == [found.found_bytes]


def test_only_the_columns_and_the_block_row_asked_for(tmp_path: Path) -> None:
    mdlake.encode(related(), tmp_path / "a", rows_per_block=1500)
    found = mdlake.explain(tmp_path / "a", ["name"], block_row=2)
    assert [column.name for column in found.columns] == ["name"] and found.rows == 1000 and found.block_rows == 3
    with pytest.raises(InvalidArgumentError, match="there is no column 'nome'; there are"):
        mdlake.explain(tmp_path / "a", ["nome"])
    for wrong in (3, -1):
        with pytest.raises(InvalidArgumentError, match=f"no block row {wrong}; there are 3"):
            mdlake.explain(tmp_path / "a", block_row=wrong)
    mdlake.encode(related().select([]), tmp_path / "empty")
    assert mdlake.explain(tmp_path / "empty").columns == ()


def test_bytes_of_other_columns_are_refused() -> None:
    data = explained(related())["name"][0]
    for names, roles in ((["a"], ["validity", "values"]), (related().schema.names, ["values"])):
        with pytest.raises(CorruptError, match="is not of these columns"):
            explain_block(data, names, roles)


def test_inspect_explains(tmp_path: Path) -> None:
    mdlake.encode(related(), tmp_path / "a")
    said = CliRunner().invoke(app, ["inspect", str(tmp_path / "a"), "--explain"]).output
    for shown in (
        "block row 0 of 1, 4,000 rows",
        "lookup[300] by key",
        "values (table)",
        "runner-up",
        "saved",
        "header",
    ):
        assert shown in said
    said = CliRunner().invoke(app, ["inspect", str(tmp_path / "a"), "--explain", "--column", "noise"]).output
    assert "noise" in said and "name" not in said
    refused = CliRunner().invoke(app, ["inspect", str(tmp_path / "a"), "--block-row", "1"])
    assert "go with --explain" in str(refused.exception)


def test_statistics_say_why_and_keep_it(tmp_path: Path) -> None:
    pq.write_table(related(), tmp_path / "source.parquet")
    options = EncodeJobOptions(str(tmp_path / "source.parquet"), str(tmp_path / "a"), stats=str(tmp_path / "stats"))
    killed = [encode.run(task) for task in encode.plan(options, explain=True).tasks]  # before the commit
    planned = encode.plan(options, explain=True)
    results = [encode.run(task) for task in planned.tasks]
    assert all(result.reused for result in results) and [r.explained for r in results] == [r.explained for r in killed]
    record_archive(encode.commit(planned, results), options, results)
    blocks = {row["column"]: row for row in read_latest(options.stats, "blocks").to_pylist()}
    why = {name: found.figures() for name, (_, found) in explained(related()).items()}
    assert {name: {figure: row[figure] for figure in FIGURES} for name, row in blocks.items()} == why
    assert blocks["name"]["parents"] == "key" and blocks["name"]["alone_bytes"] > 2 * blocks["name"]["encoded_bytes"]
    assert blocks["name"]["exception_bytes"] > 0 and blocks["noise"]["alone_bytes"] is None

    done = encode.plan(options, explain=True)  # its work is found done: what was said before is kept
    assert done.done
    record_archive(encode.commit(done, []), options)
    again = read_latest(options.stats, "blocks").drop_columns(["recorded"]).to_pylist()
    assert [{key: row[key] for key in found} for row, found in zip(blocks.values(), again, strict=True)] == again
    page = report(str(tmp_path))
    assert "Why it takes that" in page and "lookup[300] by key" in page

    other = replace(options, archive=str(tmp_path / "b"), effort="fast", stats=str(tmp_path / "other"))
    planned = encode.plan(other)  # nobody asks
    results = [encode.run(task) for task in planned.tasks]
    assert not any(result.explained for result in results)
    record_archive(encode.commit(planned, results), other, results)
    assert {row[figure] for row in read_latest(other.stats, "blocks").to_pylist() for figure in FIGURES} == {None}


def test_the_job_asks_where_it_records_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(related().select(["key", "name"]), tmp_path / "source.parquet")
    monkeypatch.setattr("jobs.encode.open_session", lambda name: nullcontext(SimpleNamespace(sparkContext=None)))
    monkeypatch.setattr("jobs.encode.SparkEngine", lambda context, verb: LocalEngine(1))
    encode_main([str(tmp_path / "source.parquet"), str(tmp_path / "a"), "--stats", str(tmp_path / "stats")])
    rows = read_latest(str(tmp_path / "stats"), "blocks").to_pylist()
    assert [row["parents"] for row in rows] == [None, "key"] and all(row["runner_up_bytes"] for row in rows)


def _varint(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80]) + _varint(value >> 7) if value >= 0x80 else bytes([value])
