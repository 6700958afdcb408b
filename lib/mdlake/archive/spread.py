"""Running the tasks of a plan on an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from mdlake.engine import Engine, LocalEngine

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[int, int], None]
"""Called with (tasks done, tasks in all)."""


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
