"""Tasks of a plan: what they carry to another process, and running them on an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from mdlake.engine import Engine, LocalEngine
from mdlake.lake.manifest import decode_schema, encode_schema

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[int, int], None]
"""Called with (tasks done, tasks in all)."""


class Task:
    """The base of dataclasses that are sent to an engine: their schemas travel as Arrow IPC messages.

    Arrow's own pickling renames the items of fixed-size lists and forgets their nullability and metadata.
    """

    def __getstate__(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        schemas = {name: encode_schema(value) for name, value in vars(self).items() if isinstance(value, pa.Schema)}
        return {**vars(self), **schemas}, tuple(schemas)

    def __setstate__(self, state: tuple[dict[str, Any], tuple[str, ...]]) -> None:
        values, schemas = state
        vars(self).update({**values, **{name: decode_schema(values[name]) for name in schemas}})


def spread(function: Callable[[T], R], tasks: Sequence[T], engine: Engine | None, progress: Progress | None) -> list[R]:
    """The results in task order; without an engine, one after another in this process."""
    results: list[R] = []
    if progress:
        progress(0, len(tasks))
    for result in (engine or LocalEngine()).map(function, tasks):
        results.append(result)
        if progress:
            progress(len(results), len(tasks))
    return results
