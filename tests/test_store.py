"""The store: what it promises about any object store, on a local folder, in memory and on S3."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mdlake.errors import ConflictError, InvalidArgumentError, StoreError
from mdlake.lake.store import Store, open_object, open_store
from mdlake.lake.url import join_url, parse_url

ODD = "a folder/b#c ü%20~.bin"


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return open_store(tmp_path / "a lake")
    if request.param == "memory":
        return open_store(f"memory://{tmp_path.name}/a lake")
    s3 = request.getfixturevalue("s3")
    return open_store(s3.bucket() + "/a lake", s3.options)


def test_objects_come_back_and_are_listed_in_order(store: Store) -> None:
    store.put(ODD, b"12345")
    store.put("z", b"")
    store.put("a", memoryview(b"xyz"))
    assert store.get(ODD) == b"12345" and store.get("z") == b"" and store.get("a") == b"xyz"
    assert [(info.path, info.size) for info in store.list()] == [("a", 3), (ODD, 5), ("z", 0)]
    assert [info.path for info in store.list("a folder")] == [ODD]
    assert list(store.list("nowhere")) == []
    assert store.get_range(ODD, 1, 3) == b"234" and store.get_range(ODD, 3, 9) == b"45"
    assert [bytes(part) for part in store.get_ranges(ODD, [4, 0], [1, 2])] == [b"5", b"12"]
    assert [bytes(part) for part in store.get_ranges(ODD, [3, 0], [9, 1])] == [b"45", b"1"]
    assert store.exists(ODD) and not store.exists("a folder") and not store.exists("q")
    store.delete(["never there", ODD, "nor this", "z"])
    assert [info.path for info in store.list()] == ["a"]
    store.delete([])


def test_create_refuses_to_overwrite(store: Store) -> None:
    store.put("once", b"first", create=True)
    with pytest.raises(ConflictError, match="another writer"):
        store.put("once", b"second", create=True)
    assert store.get("once") == b"first"
    store.put("once", b"third")
    assert store.get("once") == b"third"


def test_a_writer_that_fails_publishes_nothing(store: Store) -> None:
    with pytest.raises(KeyError), store.writer("big") as sink:
        sink.write(b"x" * (20 << 20))
        raise KeyError
    assert not store.exists("big")
    with store.writer("big") as sink:
        sink.write(b"x" * (20 << 20))
    assert store.head("big").size == 20 << 20


def test_pyarrow_reads_and_writes_through_it(store: Store) -> None:
    table = pa.table({"a": range(100_000), "b": ["text"] * 100_000})
    with store.writer("t.parquet") as sink:
        pq.write_table(table, sink)
    reread = pickle.loads(pickle.dumps(store)) if not store.url.startswith("memory") else store
    assert pq.ParquetFile(reread.reader("t.parquet")).read().equals(table)


def test_missing_objects_are_store_errors(store: Store) -> None:
    store.put("short", b"12345")
    for failing in (lambda: store.get("q"), lambda: store.head("q"), lambda: store.reader("q")):
        with pytest.raises(StoreError, match=r"q.*does not exist; check the URL"):
            failing()
    with pytest.raises(StoreError, match="shorter than it should be"):
        store.get_range("short", 20, 5)


def test_wrong_credentials_and_missing_buckets_say_what_to_do(s3) -> None:
    url = s3.bucket()
    wrong = s3.credentials("writer", secret="not-the-secret")
    for failing, hint in (
        (lambda: open_store(url, wrong).put("x", b"1"), "secret key is wrong"),
        (lambda: list(open_store(url, wrong).list()), "secret key is wrong"),
        (lambda: open_store(url, s3.credentials("nobody")).get("x"), "access key is unknown"),
        (lambda: open_store(url, s3.credentials("reader")).put("x", b"1"), "access is denied"),
        (lambda: open_store("s3://no-such-bucket", s3.options).put("x", b"1"), "denied|bucket"),
        (lambda: list(open_store("s3://no-such-bucket", s3.options).list()), "bucket does not exist"),
        (lambda: open_store("s3://no-such-bucket", s3.options).get("x"), "bucket does not exist"),
    ):
        with pytest.raises(StoreError, match=hint) as caught:
            failing()
        assert "secret-access" not in str(caught.value) and "not-the-secret" not in str(caught.value)
        assert "s3://" in str(caught.value)
    assert "secret" not in repr(open_store(url, wrong))


def test_unreachable_servers() -> None:
    options = {"endpoint": "http://127.0.0.1:9", "access_key_id": "a", "secret_access_key": "b"}
    with pytest.raises(StoreError, match="server cannot be reached"):
        open_store("s3://bucket", options).get("x")


def test_a_file_where_a_folder_must_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="a file lies where a folder is needed"):
        open_store(tmp_path / "file").put("x", b"1")
    with pytest.raises(StoreError, match="folder"):
        open_object(tmp_path)[0].reader(tmp_path.name)


def _create(store: Store, name: str) -> str:
    try:
        store.put("manifest", name.encode(), create=True)
    except ConflictError:
        return "conflict"
    return name


@pytest.mark.parametrize("place", ["local", "s3"])
def test_of_eight_processes_exactly_one_creates(place: str, request, tmp_path: Path) -> None:
    if place == "s3":
        s3 = request.getfixturevalue("s3")
        store = open_store(s3.bucket(), s3.options)
    else:
        store = open_store(tmp_path)
    names = [f"writer {i}" for i in range(8)]
    with ProcessPoolExecutor(8, get_context("spawn")) as pool:
        outcomes = list(pool.map(_create, [store] * 8, names))
    winners = [outcome for outcome in outcomes if outcome != "conflict"]
    assert len(winners) == 1 and store.get("manifest").decode() == winners[0]


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("/a//b/../c/", "/a/c"),
        ("file:///a/b", "/a/b"),
        ("s3://bucket/a//b/", "s3://bucket/a/b"),
        ("S3://bucket", "s3://bucket"),
        ("abfss://box@account.dfs.core.windows.net/a", "abfss://box@account.dfs.core.windows.net/a"),
    ],
)
def test_urls_have_one_spelling(url: str, normal: str) -> None:
    assert parse_url(url).url == normal
    assert join_url(url, "x/y") == normal + "/x/y"


@pytest.mark.parametrize(
    "url", ["ftp://host/a", "s3://", "s3://key:secret@bucket/a", "https://host/a?sig=x", "s3://b/../a", ""]
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_url(url)
    assert "key:secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["/tmp/lake", "memory://a/b", "s3://bucket/lake"])
def test_options_that_no_store_knows_are_refused(url: str) -> None:
    for known in ("endpoint", "aws_region", "AWS_REGION"):
        open_store(url, {known: "x"})
    if not url.startswith("s3"):  # another store's options do no harm: source and target share them
        open_store(url, {"google_service_account": "x", "azure_storage_account_name": "x"})
    with pytest.raises(InvalidArgumentError, match="no storage option 'end_point'") as caught:
        open_store(url, {"end_point": "hidden"})
    assert "hidden" not in str(caught.value)
