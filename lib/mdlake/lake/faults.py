"""Failures of object stores, told as `StoreError`: what was tried where, why it likely failed, what to do.

Of what a store answers, only its error code and the first line of the message are repeated: a response may
quote request headers and keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from mdlake.errors import ConflictError, StoreError

# (what the answer contains, cause, advice), most telling first
_CAUSES: tuple[tuple[str, str, str], ...] = (
    ("NoSuchBucket", "the bucket does not exist", "create it, or correct the URL"),
    ("InvalidBucketName", "no bucket of this name", "create it, or correct the URL"),
    ("SignatureDoesNotMatch", "the secret key is wrong", "check storage options or AWS_SECRET_ACCESS_KEY"),
    ("InvalidAccessKeyId", "the access key is unknown", "check AWS_ACCESS_KEY_ID or the storage options"),
    ("ExpiredToken", "the session token has expired", "renew the credentials"),
    ("AccessDenied", "access is denied", "grant these credentials the permission, or use others"),
    ("403 Forbidden", "access is denied", "check the credentials and their permissions"),
    ("401 Unauthorized", "the credentials are missing or wrong", "check the credentials"),
    ("credentials", "no usable credentials were found", "set AWS_* variables or give storage options"),
    ("kind: Connect", "the server cannot be reached", "check the endpoint and the network"),
    ("Timeout", "the server did not answer in time", "check the endpoint and the network, or try again"),
    ("StorageFull", "the disk is full", "free some space"),
    ("No space left", "the disk is full", "free some space"),
    ("PermissionDenied", "permission is denied", "check who owns the folder"),
    ("Read-only file system", "the file system is read-only", "write to another place"),
    ("NotADirectory", "a file lies where a folder is needed", "name a folder, or another place"),
    ("AlreadyExists", "a file lies where a folder is needed", "name a folder, or another place"),
    ("Is a directory", "a folder lies where a file is needed", "name a file"),
    ("IsADirectory", "a folder lies where a file is needed", "remove it, or choose another place"),
    ("InvalidRange", "the object is shorter than it should be", "restore the object from a backup"),
    ("Invalid range", "the object is shorter than it should be", "restore the object from a backup"),
    ("416 Range", "the object is shorter than it should be", "restore the object from a backup"),
    ("Unable to walk dir", "the folder cannot be read", "check that it exists and who owns it"),
    ("NotFound", "it does not exist", "check the URL"),
)


@contextmanager
def translated(operation: str, url: str) -> Iterator[None]:
    """Turns what obstore raises into `StoreError` or `ConflictError` naming `operation` and `url`."""
    try:
        yield
    except (AlreadyExistsError, PreconditionError) as error:
        if Path(url).is_dir():
            raise StoreError(f"cannot {operation}: this is a folder; name a file", url=url) from error
        raise ConflictError("another writer was first", url=url) from error
    except (BaseError, OSError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        raise _explain(error, operation, url) from error


def is_missing(error: StoreError) -> bool:
    """True when the store answered that the object itself is not there."""
    return isinstance(error.__cause__, FileNotFoundError) and "NoSuchBucket" not in str(error.__cause__)


def _explain(error: Exception, operation: str, url: str) -> StoreError:
    text = str(error)
    if isinstance(error, FileNotFoundError) and operation.startswith("read") and Path(url).is_dir():
        return StoreError(f"cannot {operation}: this is a folder; name a file", url=url)
    if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in text:
        missing = "the folder cannot be made" if operation in ("write", "create") else "it does not exist"
        return StoreError(f"cannot {operation}: {missing}; check the URL", url=url)
    for needle, cause, advice in _CAUSES:
        if needle in text:
            return StoreError(f"cannot {operation}: {cause}; {advice}", url=url)
    code = re.search(r"<Code>(\w+)</Code>", text)
    said = code.group(1) if code else (text.strip().splitlines() or [type(error).__name__])[0][:200]
    return StoreError(f"cannot {operation}: {said}", url=url)
