"""One object store behind one URL prefix: the only code that touches obstore.

Everything above sees paths relative to the prefix, `bytes`, and four kinds of failure. Writes are atomic:
an object is there whole or not at all. `put(create=True)` is the conditional create that commits rest on.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import obstore
from obstore.exceptions import UnknownConfigurationKeyError
from obstore.store import LocalStore, MemoryStore, ObjectStore, from_url

from mdlake.errors import ConflictError, InvalidArgumentError, StoreError
from mdlake.lake.faults import is_missing, translated
from mdlake.lake.url import LOCAL, MEMORY, Location, parse_url

_CLIENT_OPTIONS = frozenset(("allow_http", "allow_invalid_certificates", "connect_timeout", "timeout", "proxy_url"))
_RETRY: Any = {"max_retries": 10, "retry_timeout": timedelta(seconds=60)}
_COPY_BYTES = 8 << 20
TAKEN = "there is a file already; delete it or choose another target"
_ANY = ("s3://any", "gs://any", "az://any")  # a store of each kind that has options of its own
_GAP_BYTES = 256 << 10
_REQUEST_BYTES = 64 << 20
_memory_stores: dict[str, MemoryStore] = {}  # memory:// must name the same objects each time it is opened


@dataclass(frozen=True)
class ObjectInfo:
    """An object: `path` relative to its store, `size` in bytes, time of the last write, entity tag."""

    path: str
    size: int
    modified: datetime
    etag: str | None


class Store:
    """The objects below one URL. Pickles as its URL and options, so that tasks can carry it."""

    def __init__(self, location: Location, options: Mapping[str, str] | None = None) -> None:
        self.url = location.url
        self._location = location
        self._options = dict(options or {})
        _check_keys(self._options)
        with translated("open the store", self.url):
            self._objects = _objects(location, self._options)

    def __reduce__(self) -> tuple[object, ...]:
        return (Store, (self._location, self._options))

    def __repr__(self) -> str:  # never the options: they hold secrets
        return f"Store({self.url!r})"

    def url_of(self, path: str) -> str:
        return (self._location / path).url

    def get(self, path: str) -> bytes:
        """The whole object."""
        with translated("read", self.url_of(path)):
            return bytes(obstore.get(self._objects, self._key(path)).bytes())

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer only if the object ends before."""
        if length == 0:
            return b""
        with translated(f"read bytes {start} to {start + length}", self.url_of(path)):
            return bytes(obstore.get_range(self._objects, self._key(path), start=start, length=length))

    def get_ranges(self, path: str, starts: Sequence[int], lengths: Sequence[int]) -> list[memoryview]:
        """Several ranges of one object; near ones are fetched by one request. Short where the object ends before."""
        found: dict[int, memoryview] = {}
        for group in _near(starts, lengths):
            first = starts[group[0]]
            end = max(starts[i] + lengths[i] for i in group)
            data = memoryview(self.get_range(path, first, end - first))
            found.update({i: data[starts[i] - first : starts[i] - first + lengths[i]] for i in group})
        return [found[i] for i in range(len(starts))]

    def head(self, path: str) -> ObjectInfo:
        with translated("look up", self.url_of(path)):
            return self._info(obstore.head(self._objects, self._key(path)))

    def exists(self, path: str) -> bool:
        try:
            self.head(path)
        except StoreError as error:
            if is_missing(error):
                return False
            raise
        return True

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects below the folder `prefix`, at any depth, sorted by path."""
        with translated("list", self.url_of(prefix)):
            pages = obstore.list(self._objects, self._key(prefix) or None)
            found = [self._info(meta) for page in pages for meta in page]
        return iter(sorted(found, key=lambda info: info.path))

    def put(self, path: str, data: bytes | memoryview | IO[bytes], *, create: bool = False) -> None:
        """Writes one object atomically. With `create`, `ConflictError` if there is one already."""
        with translated("create" if create else "write", self.url_of(path)):
            mode = "create" if create else "overwrite"
            obstore.put(self._objects, self._key(path), cast(Any, data), mode=mode)

    def delete(self, paths: Iterable[str]) -> None:
        """Removes objects, many by one request; one that is already gone is no error."""
        left = list(paths)
        try:
            self._delete(left)
        except StoreError as error:
            if not is_missing(error):
                raise
            for path in left:
                self._delete_one(path)

    def _delete(self, paths: Sequence[str]) -> None:
        with translated("delete", self.url_of(paths[0] if paths else "")):
            obstore.delete(self._objects, [self._key(path) for path in paths])

    def _delete_one(self, path: str) -> None:
        try:
            self._delete([path])
        except StoreError as error:
            if not is_missing(error):
                raise

    def reader(self, path: str) -> BinaryIO:
        """A seekable file over the object: each read is one range request of exactly its size."""
        if self._location.scheme == LOCAL:
            with translated("read", self.url_of(path)):
                return open("/" + self._key(path), "rb")
        return cast(BinaryIO, _RangeReader(self, path, self.head(path).size))

    def local_path(self, path: str) -> Path | None:
        """Where the object lies, or would, on this machine; None in an object store."""
        return Path("/" + self._key(path)) if self._location.scheme == LOCAL else None

    @contextmanager
    def writer(self, path: str) -> Iterator[BinaryIO]:
        """A file to write the object through, in parts; nothing is published if the body raises."""
        url = self.url_of(path)
        with translated("write", url):
            sink = obstore.open_writer(self._objects, self._key(path), buffer_size=_COPY_BYTES)
        try:
            yield cast(BinaryIO, _Writer(sink, url))
        except BaseException as error:
            with translated("abandon", url):
                sink.__exit__(type(error), error, error.__traceback__)
            raise
        with translated("write", url):
            sink.__exit__(None, None, None)

    def _key(self, path: str) -> str:
        return (self._location / path).path

    def _info(self, meta: Any) -> ObjectInfo:
        prefix = self._location.path
        path = meta["path"][len(prefix) + 1 :] if prefix else meta["path"]
        return ObjectInfo(path, meta["size"], meta["last_modified"], meta["e_tag"])


def open_store(url: str | os.PathLike[str], options: Mapping[str, str] | None = None) -> Store:
    """The store at `url`. `options` have obstore's names (`access_key_id`, `endpoint`, ...); what is
    not given comes from the usual environment variables. Opening asks nothing of the store yet."""
    return Store(parse_url(url), options)


def put_new(store: Store, path: str, data: bytes) -> None:
    """Writes an object that a user named and that must not be there yet.

    Raises:
        InvalidArgumentError: it is.
    """
    try:
        store.put(path, data, create=True)
    except ConflictError as error:
        raise InvalidArgumentError(TAKEN, file=store.url_of(path)) from error


def open_object(url: str | os.PathLike[str], options: Mapping[str, str] | None = None) -> tuple[Store, str]:
    """The store of the folder that holds the object at `url`, and the object's name in it."""
    location = parse_url(url)
    if not location.path:
        raise InvalidArgumentError("this URL names a whole bucket, not an object in it", url=location.url)
    return Store(location.parent, options), location.name


def _objects(location: Location, options: Mapping[str, str]) -> ObjectStore:
    if location.scheme == LOCAL:
        return LocalStore()
    if location.scheme == MEMORY:
        return _memory_stores.setdefault(location.authority, MemoryStore())
    config: Any = {key: value for key, value in options.items() if _plain(key) not in _CLIENT_OPTIONS}
    client: Any = {_plain(key): value for key, value in options.items() if _plain(key) in _CLIENT_OPTIONS}
    if _endpoint(options).startswith("http://"):  # asked for by name, so meant
        client.setdefault("allow_http", "true")
    base = Location(location.scheme, location.authority, "").url
    return from_url(base, config=config, client_options=client, retry_config=_RETRY)


def _check_keys(options: Mapping[str, str]) -> None:
    """Refuses keys that no store knows. Local stores ignore the others: one set of options serves source and target."""
    for key in options:
        if _plain(key) not in _CLIENT_OPTIONS and not any(_is_known(key, url) for url in _ANY):
            advice = "obstore's names are understood, such as endpoint, region and access_key_id"
            raise InvalidArgumentError(f"there is no storage option {key!r}; {advice}")


@cache
def _is_known(key: str, url: str) -> bool:
    """Whether the kind of store at `url` has an option of this name."""
    try:
        from_url(url, config=cast(Any, {key: ""}))
    except UnknownConfigurationKeyError:
        return False
    except Exception:  # the name is known, this value is not
        return True
    return True


def _near(starts: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Groups of ranges, by index, that one request should fetch: little lies between them."""
    group: list[int] = []
    for i in sorted(range(len(starts)), key=lambda i: starts[i]):
        if group:
            first, last = starts[group[0]], starts[group[-1]] + lengths[group[-1]]
            if starts[i] - last > _GAP_BYTES or starts[i] + lengths[i] - first > _REQUEST_BYTES:
                yield group
                group = []
        group.append(i)
    if group:
        yield group


def _plain(key: str) -> str:
    return key.lower().removeprefix("aws_").removeprefix("azure_").removeprefix("google_")


def _endpoint(options: Mapping[str, str]) -> str:
    for key, value in options.items():
        if _plain(key) in ("endpoint", "endpoint_url"):
            return value
    return os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""


class _RangeReader(io.RawIOBase):
    """A read-only file whose reads are range requests."""

    def __init__(self, store: Store, path: str, size: int) -> None:
        self._store, self._path, self._size, self._at = store, path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._at)
        length = left if size is None or size < 0 else min(size, left)
        data = self._store.get_range(self._path, self._at, length)
        self._at += len(data)
        return data

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Writer(io.RawIOBase):
    """What pyarrow asks of a sink, over obstore's writer."""

    def __init__(self, sink: Any, url: str) -> None:
        self._sink, self._url, self._at = sink, url, 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        with translated("write", self._url):
            self._sink.write(data)
        self._at += size
        return size
