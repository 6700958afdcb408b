"""mdlake: distributed compression for data lakes and models.

The Python surface. What costs time to import (numba, torch) is imported by the first call that needs it.

    mdlake.encode(table_or_url, archive_url)     a table or Parquet to an archive
    mdlake.open(archive_url)                     an archive as a table
    mdlake.load_model(artifact_url)              an artifact as a torch module
    mdlake.save_weights(artifact_url, module)    weights alone to an artifact; load_weights: its tensors by name
    mdlake.export_onnx(artifact_url, file_url)   an artifact as an ONNX file
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from mdlake.error_bounds import Absolute, Relative
from mdlake.errors import (
    ConflictError,
    CorruptError,
    InvalidArgumentError,
    MdlakeError,
    StoreError,
    TruncatedError,
    UnsupportedVersionError,
)
from mdlake.version import VERSION

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from mdlake.archive.encode import EncodeReport
    from mdlake.archive.explain import ExplainReport
    from mdlake.archive.reader import Archive
    from mdlake.export import ExportReport
    from mdlake.models.schemes import Kept

__version__ = VERSION

__all__ = [
    "Absolute",
    "ConflictError",
    "CorruptError",
    "InvalidArgumentError",
    "MdlakeError",
    "Relative",
    "StoreError",
    "TruncatedError",
    "UnsupportedVersionError",
    "encode",
    "explain",
    "export_onnx",
    "load_model",
    "load_weights",
    "open",
    "save_weights",
]


def encode(
    source: pa.Table | str | PathLike[str],
    archive: str | PathLike[str],
    effort: str = "default",
    *,
    processes: int = 1,
    storage: Mapping[str, str] | None = None,
    **options: Any,
) -> EncodeReport:
    """Encodes a table, or the Parquet at a URL, to an archive.

    Args:
        source: a `pyarrow.Table`, a Parquet file, a folder of them, or a URL of either.
        archive: URL of the archive; a new version is committed there.
        effort: `fast`, `default` or `max`.
        processes: how many files are encoded at once; if above 1, a script calls this under
            `if __name__ == "__main__":`, because each process imports the script.
        storage: credentials and endpoint under obstore's names; else the environment's.
        options: other fields of `mdlake.archive.options.EncodeOptions`, such as `max_error={"temp": Absolute(0.01)}`.

    Raises:
        InvalidArgumentError, StoreError, ConflictError, CorruptError, TruncatedError.
    """
    from mdlake.archive.encode import encode as run
    from mdlake.archive.encode import encode_table
    from mdlake.archive.options import EncodeOptions
    from mdlake.engine import LocalEngine

    chosen = EncodeOptions("", fspath(archive), effort, storage=dict(storage or {}), **options)
    if isinstance(source, str | PathLike):
        return run(replace(chosen, source=fspath(source)), LocalEngine(processes))
    return encode_table(source, chosen)


def open(url: str | PathLike[str], version: int | None = None, storage: Mapping[str, str] | None = None) -> Archive:
    """Opens an archive's `version`, the newest by default, for reading; blocks are fetched when asked for."""
    from mdlake.archive.reader import Archive

    return Archive.open(fspath(url), version, storage)


def explain(
    archive: str | PathLike[str],
    columns: Sequence[str] | None = None,
    *,
    block_row: int = 0,
    version: int | None = None,
    storage: Mapping[str, str] | None = None,
) -> ExplainReport:
    """Why each block of a block row is as it is: what its parts take, the runner-up, what other columns save it.

    The search is repeated and what it did not choose is measured in full, so this takes longer than encoding did.

    Args:
        columns: names of those to explain; None: all.
        block_row: which one, counted from 0 over the archive's files.

    Raises:
        InvalidArgumentError, StoreError, CorruptError, TruncatedError, UnsupportedVersionError.
    """
    from mdlake.archive.explain import explain as run
    from mdlake.archive.options import ExplainOptions

    wanted = None if columns is None else tuple(columns)
    return run(ExplainOptions(fspath(archive), version, wanted, block_row, dict(storage or {})))


def load_model(
    url: str,
    storage: Mapping[str, str] | None = None,
    *,
    form: str = "dense",
    model_class: Callable[..., torch.nn.Module] | str | None = None,
    inputs: Any = None,
) -> torch.nn.Module:
    """The network in an artifact, decoded and in evaluation mode. Nothing in the artifact is run.

    Args:
        form: "dense", or "sparse" or "int8" for Linear layers that are so: fewer bytes in memory, faster on a CPU.
        model_class, inputs: of an artifact that was trained with a user's own: see `mdlake.artifact.load_model`.

    Raises:
        InvalidArgumentError, StoreError, CorruptError, TruncatedError, UnsupportedVersionError.
    """
    from mdlake.artifact import load_model as load

    return load(url, storage, form=form, model_class=model_class, inputs=inputs)


def save_weights(
    url: str | PathLike[str],
    weights: torch.nn.Module | Mapping[str, torch.Tensor],
    schemes: Mapping[str, Kept] | None = None,
    *,
    effort: str = "default",
    storage: Mapping[str, str] | None = None,
) -> int:
    """Writes the weights of any module, or tensors by name, as an artifact without a network; returns its bytes.

    Args:
        schemes: how tensors are kept that were quantised, by name; the others are kept bit for bit, and many zeros
            take little.
        effort: `fast`, `default` or `max`.

    Raises:
        InvalidArgumentError, StoreError.
    """
    from mdlake.artifact import save_weights as save

    return save(fspath(url), weights, schemes, storage, effort)


def load_weights(
    url: str | PathLike[str], storage: Mapping[str, str] | None = None, *, max_bytes: int = 1 << 32
) -> dict[str, torch.Tensor]:
    """The tensors of any artifact by name, for a module's `load_state_dict`.

    Args:
        max_bytes: the memory that they may take.

    Raises:
        InvalidArgumentError, StoreError, CorruptError, TruncatedError, UnsupportedVersionError.
    """
    from mdlake.artifact import load_weights as load

    return load(fspath(url), storage, max_bytes=max_bytes)


def export_onnx(
    artifact: str,
    target: str,
    *,
    storage: Mapping[str, str] | None = None,
    model_class: Callable[..., torch.nn.Module] | str | None = None,
    inputs: Any = None,
    **options: Any,
) -> ExportReport:
    """Writes an artifact as an ONNX file and compares both; nothing is overwritten.

    Args:
        model_class, inputs: of an artifact that was trained with a user's own: see `mdlake.artifact.load_model`.
        options: fields of `mdlake.export.ExportOptions`, such as `int8=True` and `shards="s3://lake/shards"`.

    Raises:
        InvalidArgumentError, StoreError, CorruptError, TruncatedError, UnsupportedVersionError.
    """
    from mdlake.export import ExportOptions
    from mdlake.export import export_onnx as run

    return run(artifact, target, ExportOptions(**options), storage, model_class=model_class, inputs=inputs)
