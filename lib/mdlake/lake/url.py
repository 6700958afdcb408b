"""URLs of the lake: one spelling for folders, files and object stores.

`/path`, `path` and `file:///path` are local; `s3://bucket/prefix`, `gs://`, `az://` and `https://` are what
obstore understands; `memory://name/prefix` lives in this process and serves tests.
A URL never carries a secret: those belong to the storage options or the environment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from mdlake.errors import InvalidArgumentError

LOCAL = "file"
MEMORY = "memory"
REMOTE = ("s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss", "http", "https")


@dataclass(frozen=True)
class Location:
    """A place in a store: `scheme`, `authority` (bucket, container or host) and `path` in it, without slashes
    at either end."""

    scheme: str
    authority: str
    path: str

    @property
    def url(self) -> str:
        if self.scheme == LOCAL:
            return "/" + self.path
        return f"{self.scheme}://{self.authority}" + (f"/{self.path}" if self.path else "")

    @property
    def parent(self) -> Location:
        return Location(self.scheme, self.authority, self.path.rpartition("/")[0])

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def __truediv__(self, relative: str) -> Location:
        joined = "/".join(part for part in (self.path, relative.strip("/")) if part)
        return Location(self.scheme, self.authority, joined)


def parse_url(url: str | os.PathLike[str]) -> Location:
    """Reads a URL or a local path; `InvalidArgumentError` for an unknown scheme or a secret in the URL."""
    text = os.fspath(url)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _local(text)
    scheme = scheme.lower()
    if scheme == LOCAL:
        return _local("/" + rest.removeprefix("localhost").lstrip("/"))
    if scheme not in (MEMORY, *REMOTE):
        known = ", ".join(("file", *REMOTE))
        raise InvalidArgumentError(f"unknown URL scheme {scheme!r}; use a local path or one of {known}")
    authority, _, path = rest.partition("/")
    _refuse_secrets(scheme, authority, path)
    if not authority:
        raise InvalidArgumentError(f"{scheme}:// must be followed by a bucket, as in {scheme}://bucket/prefix")
    parts = [part for part in path.split("/") if part]
    if "." in parts or ".." in parts:
        raise InvalidArgumentError("object stores have no '.' and '..'; write the whole path", url=text)
    return Location(scheme, authority, "/".join(parts))


def join_url(url: str, *parts: str) -> str:
    """`url` with `parts` below it."""
    location = parse_url(url)
    for part in parts:
        location = location / part
    return location.url


def _local(path: str) -> Location:
    if not path:
        raise InvalidArgumentError("an empty path names no place; use '.' for the current folder")
    return Location(LOCAL, "", os.path.abspath(path).strip("/"))


def _refuse_secrets(scheme: str, authority: str, path: str) -> None:
    user, at, _ = authority.rpartition("@")
    if at and (":" in user or not scheme.startswith("abfs")):
        raise InvalidArgumentError(
            "credentials in a URL end up in logs; give them as storage options or environment variables"
        )
    if scheme.startswith("http") and "?" in path:
        raise InvalidArgumentError("signed URLs are not supported; give credentials as storage options")
