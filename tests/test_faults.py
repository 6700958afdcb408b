"""Faults: damaged archives, killed drivers, bad input, refusing stores. Never other data, never a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

import mdlake
from mdlake.archive import encode as encode_verb
from mdlake.archive.encode import encode
from mdlake.archive.options import EncodeOptions, RestoreOptions, VerifyOptions
from mdlake.archive.restore import restore
from mdlake.archive.verify import verify
from mdlake.engine import LocalEngine, TaskError
from mdlake.lake.manifest import FOLDER as MANIFESTS
from mdlake.lake.manifest import versions
from mdlake.lake.store import Store, open_store

FOUR_KINDS = (
    mdlake.CorruptError,
    mdlake.TruncatedError,
    mdlake.UnsupportedVersionError,
    mdlake.InvalidArgumentError,
)
TINY = pa.table({"i": [3, 1, None, 1], "s": ["a", None, "bc", "a"], "f": [0.5, -0.0, None, 2.0]})


def damaged(data: bytes) -> Iterator[bytes]:
    """Every truncation; every byte with its lowest bit flipped, its highest, and all."""
    for at in range(len(data)):
        yield data[:at]
        for mask in (0x01, 0x80, 0xFF):
            yield data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def outcome(act: Callable[[], pa.Table]) -> pa.Table | None:
    """The table, or None if one of the four kinds was raised; anything else fails the test."""
    try:
        return act()
    except FOUR_KINDS:
        return None


def test_every_truncation_and_every_flipped_byte_of_an_archive(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/archive"
    mdlake.encode(TINY, url, "fast", rows_per_block=2)
    store = open_store(url)
    paths = [info.path for info in store.list()]
    assert len(paths) == 2
    for path in paths:
        whole = store.get(path)
        harmless = 0
        for data in damaged(whole):
            store.put(path, data)
            table = outcome(lambda: mdlake.open(url).to_table())
            assert table is None or table.equals(TINY)
            harmless += table is not None
        store.put(path, whole)
        # hardly a bit of a manifest is idle; in a data file the Parquet around the blocks may be hit, which
        # our reader does not need
        assert harmless < (16 if path.startswith(MANIFESTS) else 4 * len(whole))
    assert mdlake.open(url).to_table().equals(TINY)


def test_verify_sees_every_damaged_byte_of_a_data_file(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/archive"
    mdlake.encode(TINY, url, "fast", rows_per_block=2)
    store = open_store(url)
    (path,) = (info.path for info in store.list("data"))
    whole = store.get(path)
    for data in damaged(whole):
        store.put(path, data)
        with pytest.raises((mdlake.CorruptError, mdlake.TruncatedError)):
            verify(VerifyOptions(url))
    store.put(path, whole)
    assert verify(VerifyOptions(url)).ok


def test_blocks_of_another_place_are_not_taken(tmp_path: Path) -> None:
    """Two archives whose files have the same layout: the manifest of one refuses the blocks of the other."""
    places = []
    for number in (1, 2):
        places.append(open_store(f"memory://{tmp_path.name}/{number}"))
        mdlake.encode(pa.table({"x": [number] * 3, "y": [number + 1] * 3}), places[-1].url, "fast")
    (one,), (two,) = (list(store.list("data")) for store in places)
    assert one.size == two.size
    places[0].put(one.path, places[1].get(two.path))
    with pytest.raises(mdlake.CorruptError, match="not the one that its container names") as caught:
        mdlake.open(places[0].url).to_table()
    assert caught.value.place["column"] == "x" and one.path in str(caught.value)


def test_missing_objects_are_named(tmp_path: Path) -> None:
    with pytest.raises(mdlake.StoreError, match="no manifest; check the URL"):
        mdlake.open(str(tmp_path / "nowhere"))
    mdlake.encode(TINY, str(tmp_path))
    (file,) = (tmp_path / "data").glob("*")
    file.unlink()
    with pytest.raises(mdlake.StoreError, match=f"{file.name}.*data file is gone"):
        mdlake.open(str(tmp_path)).to_table()
    with pytest.raises(mdlake.StoreError, match=f"{file.name}.*data file is gone"):
        verify(VerifyOptions(str(tmp_path)))


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    mdlake.encode(TINY, str(tmp_path))
    (file,) = (tmp_path / MANIFESTS).glob("*")
    text = zstandard.decompress(file.read_bytes()).replace(b'"format":1', b'"format":3')
    file.write_bytes(zstandard.compress(text))
    with pytest.raises(mdlake.UnsupportedVersionError, match="install a newer mdlake"):
        mdlake.open(str(tmp_path))


def many_files(folder: Path, count: int = 12) -> str:
    folder.mkdir()
    for i in range(count):
        table = pa.table({"x": range(i, i + 2000), "y": [f"{i} {j * j}" for j in range(2000)]})
        pq.write_table(table, folder / f"{i:03d}.parquet")
    return str(folder)


def test_lost_data_files_are_encoded_again(tmp_path: Path) -> None:
    source, archive = many_files(tmp_path / "source", 3), tmp_path / "archive"
    options = EncodeOptions(source, str(archive), effort="fast")
    encode(options)
    whole = {path: path.read_bytes() for path in archive.rglob("*") if path.is_file()}
    one, other, _ = sorted((archive / "data").glob("*"))
    one.unlink()
    other.write_bytes(b"cut")
    report = encode(options)
    assert (report.version, report.already_done, report.repaired) == (1, False, 2)
    assert whole == {path: path.read_bytes() for path in archive.rglob("*") if path.is_file()}
    assert encode(options).already_done


def test_damage_is_told_with_what_to_do(tmp_path: Path) -> None:
    source, archive = many_files(tmp_path / "source", 1), str(tmp_path / "archive")
    encode(EncodeOptions(source, archive, effort="fast"))
    (data,) = (tmp_path / "archive" / "data").glob("*")
    damaged = bytearray(data.read_bytes())
    damaged[100] ^= 1
    data.write_bytes(damaged)
    anew = "encode the source again with --overwrite, or restore the file from a backup"
    for act in (lambda: verify(VerifyOptions(archive)), lambda: mdlake.open(archive).to_table()):
        with pytest.raises(mdlake.CorruptError, match=f"{data.name}.*row_group 0, column 'y'.*; {anew}"):
            act()
    data.unlink()
    for act in (lambda: verify(VerifyOptions(archive)), lambda: mdlake.open(archive).to_table()):
        with pytest.raises(mdlake.StoreError, match=f"{data.name}.*the archive's data file is gone; {anew}"):
            act()
    advice = "delete the archive and encode again, or restore the file from a backup"
    (manifest,) = (tmp_path / "archive" / MANIFESTS).glob("*")
    manifest.write_bytes(manifest.read_bytes()[:-10])
    for overwrite in (False, True):
        with pytest.raises(mdlake.TruncatedError, match=f"{manifest.name}.*; {advice}"):
            encode(EncodeOptions(source, archive, effort="fast", overwrite=overwrite))
    with pytest.raises(mdlake.TruncatedError, match=advice):
        mdlake.open(archive)


@pytest.mark.parametrize("at", [100, -10], ids=["a block", "outside of the blocks"])
def test_overwrite_encodes_anew_what_is_damaged_but_not_lost(at: int, tmp_path: Path) -> None:
    source, archive = many_files(tmp_path / "source", 1), str(tmp_path / "archive")
    options = EncodeOptions(source, archive, effort="fast")
    encode(options)
    (data,) = (tmp_path / "archive" / "data").glob("*")
    whole = data.read_bytes()
    damaged = bytearray(whole)
    damaged[at] ^= 1
    data.write_bytes(damaged)
    with pytest.raises(mdlake.CorruptError, match="outside of its blocks" if at < 0 else "column 'y'"):
        verify(VerifyOptions(archive, source))
    report = encode(replace(options, overwrite=True))
    assert (report.version, report.already_done) == (1, False) and data.read_bytes() == whole
    assert verify(VerifyOptions(archive, source)).ok


def test_no_archive_among_the_files_of_another(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    source, archive = many_files(tmp_path / "data" / "source", 1), tmp_path / "data" / "archive"
    encode(EncodeOptions(source, str(archive), effort="fast"))
    for inside in (archive / "data", archive / "data" / "x", archive / "data" / "data" / "x"):
        with pytest.raises(mdlake.InvalidArgumentError, match=f"among the files of the archive {archive}; choose"):
            encode(EncodeOptions(source, str(inside), effort="fast"))
        with pytest.raises(mdlake.InvalidArgumentError, match="among the files"):
            mdlake.encode(pa.table({"x": [1]}), inside)


KILLED = """
import os, signal, sys
from mdlake.archive import encode
from mdlake.archive.options import EncodeOptions
planned = encode.plan(EncodeOptions(sys.argv[1], sys.argv[2], effort="fast"))
results = [encode.run(task) for task in planned.tasks]
os.kill(os.getpid(), signal.SIGKILL)
encode.commit(planned, results)
"""


def test_a_driver_killed_between_data_and_manifest_is_continued(tmp_path: Path) -> None:
    source, archive = many_files(tmp_path / "source"), str(tmp_path / "archive")
    killed = subprocess.run([sys.executable, "-c", KILLED, source, archive], check=False, timeout=120)
    assert killed.returncode == -9
    assert versions(open_store(archive)) == []
    assert len(list(open_store(archive).list("data"))) == 12
    with pytest.raises(mdlake.StoreError, match="nothing was committed"):
        mdlake.open(archive)
    report = encode(EncodeOptions(source, archive, effort="fast"))
    assert (report.version, report.tasks, report.reused_tasks) == (1, 12, 12)
    assert verify(VerifyOptions(archive, source)).ok
    assert not list(open_store(archive).list("tasks"))


def test_a_driver_killed_amid_its_tasks_is_continued(tmp_path: Path) -> None:
    source, archive = many_files(tmp_path / "source", 60), str(tmp_path / "archive")
    command = [sys.executable, "-m", "mdlake.cli", "encode", source, archive, "--effort", "fast"]
    driver = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 120
        while len(list(open_store(archive).list("tasks"))) < 3 and time.monotonic() < deadline:
            assert driver.poll() is None, "finished before it could be killed"
            time.sleep(0.01)
    finally:
        driver.kill()
        driver.wait()
    assert versions(open_store(archive)) == []
    report = encode(EncodeOptions(source, archive, effort="fast"))
    assert report.version == 1 and 3 <= report.reused_tasks < 60
    fresh = encode(EncodeOptions(source, str(tmp_path / "fresh"), effort="fast"))
    assert report.archive_bytes == fresh.archive_bytes
    names = [sorted(p.name for p in (tmp_path / place / "data").glob("*.parquet")) for place in ("archive", "fresh")]
    assert names[0] == names[1]


def test_damaged_task_results_are_not_used(tmp_path: Path) -> None:
    source, url = many_files(tmp_path / "source", 1), f"memory://{tmp_path.name}/archive"
    planned = encode_verb.plan(EncodeOptions(source, url, effort="fast"))
    (expected,) = (encode_verb.run(task) for task in planned.tasks)
    store = open_store(url)
    (sidecar,) = (info.path for info in store.list("tasks"))
    whole = store.get(sidecar)
    assert encode_verb.run(planned.tasks[0]).reused
    for at in range(0, len(whole), 23):
        for data in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            store.put(sidecar, data)
            assert encode_verb.run(planned.tasks[0]).file == expected.file
    store.delete([expected.file.path])
    assert not encode_verb.run(planned.tasks[0]).reused  # its data file is gone


def test_a_source_that_changed_is_not_taken_from_task_results(tmp_path: Path) -> None:
    source, archive = many_files(tmp_path / "source", 2), str(tmp_path / "archive")
    options = EncodeOptions(source, archive, effort="fast")
    for task in encode_verb.plan(options).tasks:
        encode_verb.run(task)
    pq.write_table(pa.table({"x": [1], "y": ["other"]}), f"{source}/001.parquet")
    report = encode(options)
    assert (report.reused_tasks, report.rows) == (1, 2001)


def bad_sources(folder: Path) -> dict[str, tuple[Path, type[Exception], str]]:
    folder.mkdir()
    pq.write_table(pa.table({"x": range(10_000)}), folder / "whole.parquet")
    whole = (folder / "whole.parquet").read_bytes()
    (folder / "whole.parquet").unlink()
    (folder / "empty folder").mkdir()
    cases = {
        "cut": (whole[:-100], mdlake.TruncatedError, "has no footer: it is cut"),
        "short": (b"PAR1", mdlake.TruncatedError, "no Parquet file"),
        "text": (b"a,b\n1,2\n" * 10, mdlake.InvalidArgumentError, "not a Parquet file; convert"),
        "encrypted": (whole[:-4] + b"PARE", mdlake.InvalidArgumentError, "encrypted"),
        "footer": (whole[:-8] + b"\xff\xff\xff\x7f" + b"PAR1", mdlake.CorruptError, "footer claims"),
        "thrift": (whole[:-60] + bytes(50) + whole[-10:], mdlake.CorruptError, "cannot read this Parquet"),
        "pages": (whole[:2000] + bytes(2000) + whole[4000:], mdlake.CorruptError, "cannot read this Parquet"),
    }
    found = {}
    for name, (data, kind, message) in cases.items():
        (folder / f"{name}.parquet").write_bytes(data)
        found[name] = (folder / f"{name}.parquet", kind, message)
    found["missing"] = (folder / "nothing.parquet", mdlake.StoreError, "nothing is there; check the URL")
    (folder / "delta" / "_delta_log").mkdir(parents=True)
    (folder / "delta" / "_delta_log" / "0.json").write_text("{}")
    found["delta"] = (folder / "delta", mdlake.InvalidArgumentError, "Delta table")
    (folder / "csv").mkdir()
    (folder / "csv" / "x.csv").write_text("a")
    found["no parquet"] = (folder / "csv", mdlake.InvalidArgumentError, "no .parquet files")
    found["no files"] = (folder / "empty folder", mdlake.StoreError, "nothing is there")
    return found


def test_bad_sources_say_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    for name, (path, kind, message) in bad_sources(tmp_path / "bad").items():
        with pytest.raises(kind, match=message) as caught:
            encode(EncodeOptions(str(path), str(tmp_path / "archive")))
        assert path.name.split(".")[0] in str(caught.value), name
    assert not list(open_store(tmp_path / "archive").list())


def test_archives_and_shards_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    source, archive, shards = many_files(tmp_path / "source", 1), str(tmp_path / "a"), str(tmp_path / "s")
    encode(EncodeOptions(source, archive, effort="fast"))
    restore(RestoreOptions(archive, shards))
    with pytest.raises(mdlake.InvalidArgumentError, match="archive, not Parquet: restore it first"):
        encode(EncodeOptions(archive, str(tmp_path / "b")))
    with pytest.raises(mdlake.InvalidArgumentError, match="holds shards, not an archive"):
        encode(EncodeOptions(source, shards))
    with pytest.raises(mdlake.CorruptError, match="kind 'shards'"):
        mdlake.open(shards)
    with pytest.raises(mdlake.InvalidArgumentError, match="inside its source"):
        encode(EncodeOptions(source, source + "/archive"))


def test_refused_writes_leave_nothing(tmp_path: Path, s3) -> None:
    source = many_files(tmp_path / "source", 2)
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(mdlake.StoreError, match="a file lies where a folder is needed"):
        encode(EncodeOptions(source, str(tmp_path / "file"), effort="fast"))
    bucket = s3.bucket()
    for options, message in (
        (s3.credentials("reader"), "access is denied"),
        (s3.credentials("writer", secret="wrong"), "secret key is wrong"),
    ):
        with pytest.raises(mdlake.StoreError, match=message):
            encode(EncodeOptions(source, f"{bucket}/archive", effort="fast", storage=options))
    with pytest.raises(mdlake.StoreError, match="bucket"):
        encode(EncodeOptions(source, "s3://no-such-bucket/archive", effort="fast", storage=s3.options))
    assert not list(open_store(bucket, s3.options).list())
    encode(EncodeOptions(source, f"{bucket}/archive", effort="fast", storage=s3.options))
    with pytest.raises(mdlake.StoreError, match="access is denied"):
        restore(RestoreOptions(f"{bucket}/archive", f"{bucket}/restored", storage=s3.credentials("reader")))
    assert not list(open_store(bucket, s3.options).list("restored"))


def test_a_failing_restore_publishes_nothing(tmp_path: Path) -> None:
    source, archive = many_files(tmp_path / "source", 1), tmp_path / "archive"
    encode(EncodeOptions(source, str(archive), effort="fast", rows_per_block=500))
    (file,) = (archive / "data").glob("*.parquet")
    data = bytearray(file.read_bytes())
    data[-2000] ^= 1  # in the last block row
    file.write_bytes(data)
    for target in ("one.parquet", "folder"):
        with pytest.raises(mdlake.CorruptError, match=file.name):
            restore(RestoreOptions(str(archive), str(tmp_path / target)))
        assert not (tmp_path / "one.parquet").exists()
        assert not list(open_store(tmp_path / "folder").list())


def test_types_that_parquet_would_change_are_not_restored_silently(tmp_path: Path) -> None:
    table = pa.table({"fine": [1], "seconds": pa.array([1], pa.timestamp("s"))})
    mdlake.encode(table, str(tmp_path / "a"))
    assert mdlake.open(str(tmp_path / "a")).to_table().equals(table)
    with pytest.raises(mdlake.InvalidArgumentError, match=r"Parquet would turn .*seconds.*to_table"):
        restore(RestoreOptions(str(tmp_path / "a"), str(tmp_path / "r")))
    assert restore(RestoreOptions(str(tmp_path / "a"), str(tmp_path / "r"), columns=("fine",))).rows == 1


def _fail(number: int) -> int:
    if number == 3:
        raise ZeroDivisionError("three")
    if number == 13:
        raise mdlake.CorruptError("damaged", file="x")
    return number * 2


@pytest.mark.parametrize("processes", [1, 2])
def test_the_local_engine_keeps_order_and_names_what_failed(processes: int) -> None:
    engine = LocalEngine(processes)
    assert list(engine.map(_fail, [])) == []
    results = engine.map(_fail, [5, 4, 1, 3])
    assert [next(results) for _ in range(3)] == [10, 8, 2]
    with pytest.raises(TaskError, match="task 'int': ZeroDivisionError: three"):
        next(results)
    with pytest.raises(mdlake.CorruptError, match=r"file 'x'.*damaged"):
        list(engine.map(_fail, [1, 13]))


def _die(store: Store) -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_process_is_an_error_not_a_hang(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="worker process died"):
        list(LocalEngine(2).map(_die, [open_store(tmp_path)] * 2))


SLOW = """
import os, sys, time
from mdlake.engine import LocalEngine

def wait(number):
    os.write(1, b"%d\\n" % os.getpid())  # in one piece: two processes write
    time.sleep(600)

if __name__ == "__main__":
    list(LocalEngine(2).map(wait, [1, 2]))
"""
UNGUARDED = """
import sys, mdlake
mdlake.encode(sys.argv[1], sys.argv[2], "fast", processes=2)
"""


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(kind: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, str(tmp_path / "slow.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout
        workers = [int(driver.stdout.readline()) for _ in range(2)]
        driver.send_signal(kind)
        driver.wait()
        assert driver.stdout.read() == ""  # ends when the last worker has closed it
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            _await_end(worker)


def _await_end(process: int) -> None:
    for _ in range(100):
        os.kill(process, 0)
        time.sleep(0.1)


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    source = many_files(tmp_path / "source", 2)
    (tmp_path / "script.py").write_text(UNGUARDED)
    command = [sys.executable, str(tmp_path / "script.py"), source, str(tmp_path / "archive")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    cause = "the script runs again in each process; put its calls under `if __name__"
    assert done.returncode == 1 and f"InvalidArgumentError: {cause}" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert "a worker process died: for want of memory" in last and cause in last
