"""Plain safetensors files, which any tool writes and reads: into artifacts of weights alone, and out of any artifact.

Peak memory of `pack`: twice the artifact, and the file, which is mapped; one of an object store is first copied to a
temporary file. Of `unpack`: the artifact and three times the weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from mdlake.artifact import container
from mdlake.artifact.layout import MAX_BYTES, REPAIR, lay_out_weights, open_parts, read_schemes
from mdlake.errors import CorruptError, InvalidArgumentError, advised, located
from mdlake.lake.store import Store, open_object, put_new
from mdlake.models.schemes import Kept, Tied
from mdlake.models.tensors import metadata_of

_COPY_BYTES = 8 << 20
_ABOUT = "network", "options", "label", "classes", "metrics", "lineage"


def pack(
    source: str, target: str, storage: Mapping[str, str] | None = None, effort: str = "default"
) -> tuple[int, int]:
    """Writes the tensors of a safetensors file, each bit of them, and its metadata as an artifact; returns both sizes.

    Nothing is overwritten: `InvalidArgumentError` if there is a file at `target`; the same if the source is an artifact
    already, or has a dtype that none keeps. `CorruptError`: the source is no sound safetensors file.
    """
    store, path = open_object(source, storage)
    with located(file=store.url_of(path)), _local(store, path) as file:
        tensors, metadata = _read(file)
        if list(tensors) == [container.TENSOR]:
            raise InvalidArgumentError("this is an artifact already")
        parts, about = lay_out_weights(tensors, {}, effort)
        data = container.pack(parts, about | ({"metadata": metadata} if metadata else {}))
        size = file.stat().st_size
    return size, _create(target, data, storage)


def unpack(url: str, target: str, storage: Mapping[str, str] | None = None, *, max_bytes: int = MAX_BYTES) -> int:
    """Writes the weights as a plain safetensors file, which any tool reads; returns its size.

    Nothing is overwritten: `InvalidArgumentError` if there is a file at `target`.
    """
    store, path = open_object(url, storage)
    with located(file=store.url_of(path)), advised(REPAIR):
        parts, about = open_parts(store.get(path))
        tensors = {name: _alone(scheme) for name, scheme in read_schemes(parts, about, max_bytes).items()}
        metadata = about.get("metadata", {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise CorruptError(f"metadata is an object of texts, not {metadata!r}")
    if "network" in about:
        metadata = metadata_of({key: about[key] for key in _ABOUT if key in about})
    return _create(target, save(tensors, metadata or None), storage)


def _alone(scheme: Kept) -> torch.Tensor:
    """A tensor that no other shares memory with, which plain files refuse."""
    return scheme.restore().clone() if isinstance(scheme, Tied) else scheme.restore().contiguous()


@contextmanager
def _local(store: Store, path: str) -> Iterator[Path]:
    """The object as a file of this machine."""
    if (here := store.local_path(path)) is not None:
        store.head(path)
        yield here
        return
    with TemporaryDirectory(prefix="mdlake-") as folder:
        copy = Path(folder, "weights.safetensors")
        with store.reader(path) as remote, copy.open("wb") as file:
            shutil.copyfileobj(remote, file, _COPY_BYTES)
        yield copy


def _read(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors, mapped, in the order in which they lie there, and the metadata."""
    try:
        with safe_open(file, "pt") as opened:
            return load_file(file), dict(opened.metadata() or {})
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CorruptError(f"not a sound safetensors file: {error}") from error


def _create(target: str, data: bytes, storage: Mapping[str, str] | None) -> int:
    store, path = open_object(target, storage)
    put_new(store, path, data)
    return len(data)
