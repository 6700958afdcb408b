"""Commits: exactly one of several writers wins, readers see all of a version or nothing, history stays readable."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

import mdlake
from mdlake.archive import encode as encode_verb
from mdlake.archive.encode import encode
from mdlake.archive.options import EncodeOptions, RestoreOptions, VacuumOptions, VerifyOptions
from mdlake.archive.restore import restore
from mdlake.archive.vacuum import vacuum
from mdlake.archive.verify import verify
from mdlake.lake.manifest import (
    ShardFile,
    commit_manifest,
    manifest_bytes,
    newest_version,
    parse_manifest,
    read_manifest,
    shards_manifest,
    versions,
)
from mdlake.lake.store import Store, open_store

SCHEMA = pa.schema([("x", pa.int64())])


def shards(name: str) -> dict:
    return shards_manifest(SCHEMA, [ShardFile(f"{name}.parquet", 10, 5, "0" * 64)], source={"from": name})


def write(folder: Path, name: str = "s.parquet", rows: int = 100) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"x": range(rows), "y": [str(i) for i in range(rows)]}), folder / name)
    return str(folder)


def test_versions_count_up_and_stay_readable(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert newest_version(store) == 0
    assert [commit_manifest(store, shards(name)) for name in "abc"] == [1, 2, 3]
    assert versions(store) == [1, 2, 3]
    assert read_manifest(store) == (3, shards("c")) and read_manifest(store, 1) == (1, shards("a"))
    with pytest.raises(mdlake.InvalidArgumentError, match="no version 9"):
        read_manifest(store, 9)


def test_a_writer_whose_base_is_no_longer_the_newest_loses(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    commit_manifest(store, shards("a"), base=0)
    with pytest.raises(mdlake.ConflictError, match="version 1 was committed"):
        commit_manifest(store, shards("b"), base=0)
    assert versions(store) == [1]


def test_manifests_are_canonical() -> None:
    one, other = shards("a"), dict(reversed(shards("a").items()))
    assert manifest_bytes(one) == manifest_bytes(other)
    assert parse_manifest(manifest_bytes(one)) == one


def test_a_manifest_s_frame_is_not_believed() -> None:
    whole = manifest_bytes(shards("a"))
    text = zstandard.decompress(whole)
    assert parse_manifest(text) == shards("a"), "releases before wrote the text itself"
    with pytest.raises(mdlake.TruncatedError, match="frame ends"):
        parse_manifest(whole[:-1])
    with pytest.raises(mdlake.CorruptError, match="behind the manifest's frame"):
        parse_manifest(whole + b"x")
    huge = b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + whole[13:]
    unknown = zstandard.ZstdCompressor(write_content_size=False).compress(text)
    for frame in (huge, unknown):
        with pytest.raises(mdlake.CorruptError, match="bytes, not up to"):
            parse_manifest(frame)


def _encode_own(store_url: str, storage: dict[str, str], folder: str, at: float) -> str:
    """One of eight writers: plans, encodes, waits for the others, commits."""
    options = EncodeOptions(folder, store_url, effort="fast", storage=storage)
    planned = encode_verb.plan(options)
    results = [encode_verb.run(task) for task in planned.tasks]
    time.sleep(max(0.0, at - time.time()))
    try:
        return f"won with version {encode_verb.commit(planned, results).version}"
    except mdlake.ConflictError as error:
        return f"lost: {error}"


def test_of_eight_encoders_exactly_one_commits(s3, tmp_path: Path) -> None:
    url, storage = s3.bucket() + "/archive", s3.options
    folders = [write(tmp_path / f"source{i}", rows=10 + i) for i in range(8)]
    with ProcessPoolExecutor(8, get_context("spawn")) as pool:
        at = [time.time() + 15] * 8  # importing numba eight times takes its time
        outcomes = list(pool.map(_encode_own, [url] * 8, [storage] * 8, folders, at))
    winners = [i for i, outcome in enumerate(outcomes) if outcome == "won with version 1"]
    assert len(winners) == 1, outcomes
    assert all("look at it, then run again" in outcome for i, outcome in enumerate(outcomes) if i not in winners)
    assert versions(open_store(url, storage)) == [1]
    assert mdlake.open(url, storage=storage).num_rows == 10 + winners[0]
    assert verify(VerifyOptions(url, folders[winners[0]], storage=storage)).ok


def test_the_same_encode_again_does_nothing(tmp_path: Path) -> None:
    source, archive = write(tmp_path / "source"), str(tmp_path / "archive")
    first = encode(EncodeOptions(source, archive))
    before = {path: path.stat().st_mtime_ns for path in Path(archive).rglob("*")}
    again = encode(EncodeOptions(source, archive))
    assert again.already_done and again.tasks == 0 and again.version == 1
    assert (again.rows, again.archive_bytes) == (first.rows, first.archive_bytes)
    assert before == {path: path.stat().st_mtime_ns for path in Path(archive).rglob("*")}
    assert not list((Path(archive) / "tasks").glob("*"))


def test_a_touched_source_is_encoded_again_and_found_unchanged(tmp_path: Path) -> None:
    source, archive = write(tmp_path / "source"), str(tmp_path / "archive")
    encode(EncodeOptions(source, archive))
    time.sleep(0.01)
    os.utime(Path(source) / "s.parquet")
    again = encode(EncodeOptions(source, archive))
    assert again.already_done and again.tasks == 1 and versions(open_store(archive)) == [1]


def test_other_options_make_a_new_version_another_source_needs_overwrite(tmp_path: Path) -> None:
    source, archive = write(tmp_path / "source"), str(tmp_path / "archive")
    encode(EncodeOptions(source, archive))
    assert encode(EncodeOptions(source, archive, rows_per_block=7)).version == 2
    other = write(tmp_path / "other", rows=50)
    with pytest.raises(mdlake.InvalidArgumentError, match="made from another source"):
        encode(EncodeOptions(other, archive))
    assert encode(EncodeOptions(other, archive, overwrite=True)).version == 3
    assert mdlake.open(archive).num_rows == 50 and mdlake.open(archive, version=1).num_rows == 100
    with pytest.raises(mdlake.InvalidArgumentError, match="another table"):
        mdlake.encode(pa.table({"z": [1]}), archive)
    assert mdlake.encode(pa.table({"z": [1]}), archive, overwrite=True).version == 4


def test_vacuum_deletes_history_and_leftovers_but_nothing_young(tmp_path: Path) -> None:
    source, archive = write(tmp_path / "source"), tmp_path / "archive"
    for rows in (10, 20, 30):
        encode(EncodeOptions(source, str(archive), rows_per_block=rows))
    (archive / "data" / "mine.parquet").write_bytes(b"not ours: it stays")
    (archive / "data" / f"{'0' * 32}.parquet").write_bytes(b"of a killed writer")
    assert len(list((archive / "data").glob("*"))) == 5
    assert vacuum(VacuumOptions(str(archive))).files == 0
    dry = vacuum(VacuumOptions(str(archive), timedelta(0), timedelta(0), dry_run=True))
    assert (dry.manifests, dry.files) == (2, 3) and versions(open_store(archive)) == [1, 2, 3]
    old = vacuum(VacuumOptions(str(archive), timedelta(0), timedelta(days=1)))
    assert (old.manifests, old.files) == (2, 0)
    done = vacuum(VacuumOptions(str(archive), timedelta(0), timedelta(0)))
    assert (done.manifests, done.files) == (0, 3) and done.bytes == dry.bytes - old.bytes
    assert versions(open_store(archive)) == [3] and verify(VerifyOptions(str(archive), source)).ok
    assert (archive / "data" / "mine.parquet").exists()


def test_a_commit_refuses_when_its_data_was_vacuumed(tmp_path: Path) -> None:
    source, archive = write(tmp_path / "source"), str(tmp_path / "archive")
    planned = encode_verb.plan(EncodeOptions(source, archive))
    results = [encode_verb.run(task) for task in planned.tasks]
    open_store(archive).delete(result.file.path for result in results)
    with pytest.raises(mdlake.ConflictError, match="vacuum with a longer grace"):
        encode_verb.commit(planned, results)
    assert newest_version(open_store(archive)) == 0


def test_restore_never_overwrites(tmp_path: Path) -> None:
    source, archive, target = write(tmp_path / "source"), str(tmp_path / "archive"), str(tmp_path / "target")
    encode(EncodeOptions(source, archive))
    assert not restore(RestoreOptions(archive, target)).already_done
    assert restore(RestoreOptions(archive, target)).already_done
    with pytest.raises(mdlake.InvalidArgumentError, match="holds other data"):
        restore(RestoreOptions(archive, target, columns=("x",)))
    with pytest.raises(mdlake.InvalidArgumentError, match="not empty"):
        restore(RestoreOptions(archive, source + "/.."))
    single = str(tmp_path / "one.parquet")
    restore(RestoreOptions(archive, single))
    with pytest.raises(mdlake.InvalidArgumentError, match="there is a file already"):
        restore(RestoreOptions(archive, single))


def test_shards_are_what_their_manifest_lists(tmp_path: Path) -> None:
    """A folder with a manifest is read by it: other files are not part of the table."""
    source, archive, shards_url = write(tmp_path / "s"), str(tmp_path / "a"), str(tmp_path / "shards")
    encode(EncodeOptions(source, archive))
    restore(RestoreOptions(archive, shards_url))
    write(Path(shards_url), "stray.parquet")
    assert encode(EncodeOptions(shards_url, str(tmp_path / "b"))).rows == 100
    (Path(shards_url) / "s.parquet").write_bytes(b"cut")
    with pytest.raises(mdlake.TruncatedError, match=r"s\.parquet.*found 3"):
        encode(EncodeOptions(shards_url, str(tmp_path / "c")))
    (Path(shards_url) / "s.parquet").unlink()
    with pytest.raises(mdlake.StoreError, match="it is gone"):
        encode(EncodeOptions(shards_url, str(tmp_path / "d")))


def test_stores_pickle_with_their_options_and_hide_them(tmp_path: Path) -> None:
    import pickle

    store = Store.__reduce__(open_store("s3://bucket/x", {"access_key_id": "k", "secret_access_key": "hidden"}))
    assert "hidden" not in repr(pickle.loads(pickle.dumps(open_store(tmp_path)))) and store[0] is Store
