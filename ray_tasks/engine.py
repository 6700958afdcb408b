"""Ray under the protocol of `mdlake.engine`: tasks go to any worker, results come back in task order.

`map` is for functions that need nothing but their task; `map_with` for those that need something costly to
load, as a network: a pool of actors loads it once each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from mdlake.engine import TaskError, task_name
from mdlake.errors import MdlakeError

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

_WAITING_PER_WORKER = 2  # tasks handed out beyond those at work, so that workers do not wait and memory is bounded


@dataclass(frozen=True)
class RayEngine:
    """Spreads over the connected cluster, at most `workers` tasks at once; a lost worker's task is redone."""

    workers: int = 2
    retries: int = 3

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        import ray

        remote = ray.remote(num_cpus=1, max_retries=self.retries)(_run)
        waiting: deque[tuple[T, Any]] = deque()
        for task in tasks:
            if len(waiting) >= self.workers:
                yield _result(*waiting.popleft())
            waiting.append((task, remote.remote(function, task)))
        while waiting:
            yield _result(*waiting.popleft())

    def map_with(self, load: Callable[[], S], function: Callable[[S, T], R], tasks: Sequence[T]) -> Iterator[R]:
        """As `map`, but each call gets, before its task, what `load` gave on that actor."""
        import ray

        if not tasks:
            return
        remote: Any = ray.remote(num_cpus=1, max_restarts=self.retries, max_task_retries=self.retries)(_Holder)
        actors = [remote.remote(load) for _ in range(min(self.workers, len(tasks)))]
        try:
            waiting: deque[tuple[T, Any]] = deque()
            for index, task in enumerate(tasks):
                if len(waiting) >= _WAITING_PER_WORKER * len(actors):
                    yield _result(*waiting.popleft())
                waiting.append((task, actors[index % len(actors)].run.remote(function, task)))
            while waiting:
                yield _result(*waiting.popleft())
        finally:
            for actor in actors:
                ray.kill(actor)


class _Holder:
    """The actor: what was loaded, and calls with it. Loaded by the first call, so that an error is the call's own."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load

    @cached_property
    def _state(self) -> Any:
        return self._load()

    def run(self, function: Callable[[Any, T], R], task: T) -> R:
        return function(self._state, task)


def _run(function: Callable[[T], R], task: T) -> R:
    return function(task)


def _result(task: object, reference: Any) -> Any:
    """The result; an error of the library comes as itself, anything else names the task."""
    import ray
    from ray.exceptions import RayActorError, RayTaskError, WorkerCrashedError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, MdlakeError):
            raise error.cause from None
        raise TaskError(f"{type(error.cause).__name__}: {error.cause}", task=task_name(task)) from error
    except (RayActorError, WorkerCrashedError) as error:
        raise TaskError(
            "its worker died again and again, most likely for want of memory; use fewer workers",
            task=task_name(task),
        ) from error
