"""Engines spread the middle step of plan -> tasks -> commit.

An engine maps a top-level function over small tasks and yields results in task order. `LocalEngine` is the
embedded default; `jobs/` and `ray_tasks/` put Spark and Ray under the same protocol from outside.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import current_process, get_context, parent_process
from threading import Thread
from typing import Protocol, TypeVar

from mdlake.errors import InvalidArgumentError, MdlakeError

T = TypeVar("T")
R = TypeVar("R")

_ONE_THREAD = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_UNGUARDED = 'the script runs again in each process; put its calls under `if __name__ == "__main__":`'


class Engine(Protocol):
    """Maps picklable top-level functions over tasks; results come in task order, as they become ready."""

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]: ...


class TaskError(MdlakeError, RuntimeError):
    """A task failed for a reason outside mdlake's own errors; the message names the task and the reason."""


@dataclass(frozen=True)
class LocalEngine:
    """A pool of `processes` processes with one thread each, or this process when `processes` is 1.

    Processes are spawned, not forked: forking a process that has threads (Arrow, obstore) can deadlock. A spawned
    process imports the script that started it, so a script needs `if __name__ == "__main__":` around its calls.
    """

    processes: int = 1

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise InvalidArgumentError(f"processes must be at least 1, not {self.processes}")

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        call = partial(_call, function)
        workers = min(self.processes, len(tasks))
        if workers <= 1:
            yield from map(call, tasks)
            return
        if getattr(current_process(), "_inheriting", False):  # this is a worker that imports the script
            raise InvalidArgumentError(_UNGUARDED)
        pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start)
        try:
            yield from pool.map(call, tasks)
        except BrokenProcessPool as error:
            raise TaskError(
                "a worker process died: for want of memory (use fewer processes or smaller blocks), or because "
                + _UNGUARDED
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _call(function: Callable[[T], R], task: T) -> R:
    """Runs one task; what goes wrong names it."""
    try:
        return function(task)
    except MdlakeError as error:
        error.place.setdefault("task", task_name(task))
        raise
    except Exception as error:
        raise TaskError(f"{type(error).__name__}: {error}", task=task_name(task)) from error


def task_name(task: object) -> str:
    """What a task calls itself (`name`), else its type."""
    return str(getattr(task, "name", None) or type(task).__name__)


def _start() -> None:
    """What a worker process does first: it ends with its parent, and has one thread."""
    Thread(target=_end_with_parent, daemon=True).start()
    for variable in _ONE_THREAD:
        os.environ[variable] = "1"
    import pyarrow  # here: a spawned process must have its limits before libraries start

    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)


def _end_with_parent() -> None:
    """A killed parent cannot tell its workers to stop."""
    parent = parent_process()
    if parent:
        parent.join()
        os._exit(1)
