"""Which stages are done: a note per stage in the lake, of what it read and wrote.

A stage is done if its command is the one noted and nothing that it read or wrote has changed since. Whatever
else there is (a killed run, a lost note, a moved lake), the stage runs, and finds or continues its work itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from demo.stages import Stage
from mdlake.lake.store import ObjectInfo, Store
from mdlake.statistics import record

_FOLDER = "stages"


class Ledger:
    """The notes of the lake at `url`."""

    def __init__(self, lake: Store) -> None:
        self._lake = lake

    def is_done(self, stage: Stage) -> bool:
        path = f"{_FOLDER}/{stage.name}.json"
        return self._lake.exists(path) and json.loads(self._lake.get(path)) == self._note(stage)

    def finished(self, stage: Stage, seconds: float) -> None:
        """Records the time it took, then that it is done."""
        row = {"stage": stage.name, "seconds": seconds, "skipped": False}
        record(self._lake.url_of("stats"), "stages", [row], run=stage.name)
        self._lake.put(f"{_FOLDER}/{stage.name}.json", json.dumps(self._note(stage)).encode())

    def _note(self, stage: Stage) -> dict[str, str]:
        return {
            "command": hashlib.sha256("\0".join(stage.command).encode()).hexdigest(),
            "reads": self._state(stage.reads),
            "writes": self._state(stage.writes),
        }

    def _state(self, paths: Iterable[str]) -> str:
        """Changes with any object at or below the paths; their own records of time spent do not count."""
        found = [info for path in paths for info in self._objects(path) if not info.path.startswith("stats/stages/")]
        lines = [f"{info.path} {info.size} {info.modified.isoformat()}" for info in found]
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()

    def _objects(self, path: str) -> list[ObjectInfo]:
        below = list(self._lake.list(path))
        return below or ([self._lake.head(path)] if self._lake.exists(path) else [])
