"""SparkEngine: mdlake's engine protocol over a Spark context, one Spark task for each of ours.

What travels is a function's name and small task objects (paths and choices), never rows. Spark retries a task
whose executor died or whose storage failed; any other error of the library is final and raised as itself.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from threading import Event, Thread
from typing import Any, TypeVar

from pyspark import SparkContext

from jobs import worker

T = TypeVar("T")
R = TypeVar("R")

_EVERY = 2.0  # seconds between lines of progress


class SparkEngine:
    """Runs tasks on the executors of `context`; `verb` names the job in Spark's UI and in progress lines."""

    def __init__(self, context: SparkContext, verb: str) -> None:
        self._context = context
        self._verb = verb

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """Results in task order, once all tasks are done."""
        if not tasks:
            return
        payloads = [pickle.dumps((function, task)) for task in tasks]
        self._context.setJobDescription(f"{self._verb}: {len(tasks)} tasks")
        done = Event()
        watcher = Thread(target=self._watch, args=(len(tasks), done), daemon=True)
        watcher.start()
        try:
            outcomes = self._context.parallelize(payloads, len(payloads)).map(worker.run).collect()
        finally:
            done.set()
            watcher.join()
        for succeeded, value in outcomes:
            if not succeeded:
                raise value
            yield value

    def _watch(self, tasks: int, done: Event) -> None:
        tracker = self._context.statusTracker()
        while not done.wait(_EVERY):
            stages: list[Any] = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
            finished = sum(stage.numCompletedTasks for stage in stages if stage)
            print(f"{self._verb}: {finished} of {tasks} tasks", file=sys.stderr, flush=True)
