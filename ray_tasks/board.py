"""Where workers post figures while they train, and the caller reads them: one small actor.

It also holds an error of the library: such an error comes again however often training starts over, so
workers that find one posted give up at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray

Show = Callable[[str, dict[str, Any]], None]
_SECONDS = 0.3


class Board:
    """The actor. Call its methods through `.remote`."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, dict[str, Any]]] = []
        self._error: Exception | None = None

    def post(self, model: str, figures: dict[str, Any]) -> None:
        self._rows.append((model, figures))

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        """What was posted since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def fail(self, error: Exception) -> None:
        self._error = self._error or error

    def error(self) -> Exception | None:
        return self._error


@contextmanager
def watched(show: Show) -> Iterator[Any]:
    """A board whose figures are shown as they come, and all of them before the body's end."""
    board: Any = ray.remote(num_cpus=0)(Board).remote()  # type: ignore[attr-defined]
    stop = threading.Event()

    def watch() -> None:
        while True:
            last = stop.wait(_SECONDS)
            for row in ray.get(board.take.remote()):
                show(*row)
            if last:
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield board
    finally:
        stop.set()
        watcher.join()
        ray.kill(board)
