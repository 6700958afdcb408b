"""What the demo shows: a line per stage, with the time and the last line of its log while it runs."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from demo.stages import ROOT, Stage

_TAIL_BYTES = 4096
_LINES_ON_FAILURE = 25
_PR_SET_PDEATHSIG = 1
_DONE = re.compile(r"\b(\d+)(?: of |/)(\d+)\b")  # "encode: 3 of 6 tasks", "teacher  epoch 3/8"
_CHATTER = (" INFO ", " WARN ", "log4j", "WARNING", "Setting default log level", "To adjust logging")


class StageFailed(Exception):
    """A stage ended with an error; the message holds the end of its log."""


class Display:
    """Runs stages and draws them. `logs` is a local folder: a log per stage."""

    def __init__(self, console: Console, logs: Path) -> None:
        self._console = console
        self._logs = logs

    def skip(self, stage: Stage) -> None:
        self._line("[green]✓[/green]", stage, "found done")

    def run(self, stage: Stage) -> float:
        """Runs the stage to its end and returns the seconds it took; `StageFailed` if it fails."""
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{stage.name}.log"
        begun = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                stage.command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=_environment(stage),
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
            try:
                self._watch(stage, log, process.poll)
            except BaseException:
                process.terminate()
                process.wait()
                raise
        seconds = time.monotonic() - begun
        if process.returncode:
            lines = log.read_text("utf-8", "replace").splitlines()[-_LINES_ON_FAILURE:]
            raise StageFailed(
                f"{stage.name} ended with status {process.returncode}; the end of {log}:\n" + "\n".join(lines)
            )
        self._line("[green]✓[/green]", stage, f"{seconds:.0f} s")
        return seconds

    def _watch(self, stage: Stage, log: Path, poll: Callable[[], int | None]) -> None:
        if not self._console.is_terminal:  # a pipe or a file: nothing to animate
            while poll() is None:
                time.sleep(0.2)
            return
        columns = (
            SpinnerColumn(),
            TextColumn(f"[bold]{stage.name:<9}[/bold] {stage.title:<40}"),
            BarColumn(bar_width=16),
            _Elapsed(),
            TextColumn("[dim]{task.fields[note]}[/dim]"),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(stage.name, total=None, note="")
            while poll() is None:
                note = _last_line(log)
                done = _DONE.search(note)
                if done:
                    progress.update(task, completed=int(done[1]), total=int(done[2]))
                progress.update(task, note=note[: max(0, self._console.width - 84)])
                time.sleep(0.2)

    def _line(self, mark: str, stage: Stage, note: str) -> None:
        self._console.print(f"{mark} [bold]{stage.name:<9}[/bold] {stage.title:<40} {note:>10}", highlight=False)


class _Elapsed(ProgressColumn):
    """Seconds since the stage began."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.elapsed or 0:>8.0f} s")


def _last_line(log: Path) -> str:
    """The last line that an application of ours wrote: `verb: ...` or a rich line, not Spark's chatter."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    whole = lines[1:] if size > _TAIL_BYTES else lines  # the first one was cut
    ours = [line for line in whole if line.strip() and not _is_chatter(line)]
    return ours[-1].strip() if ours else ""


def _is_chatter(line: str) -> bool:
    return any(word in line for word in _CHATTER)


def _environment(stage: Stage) -> dict[str, str]:
    return {**os.environ, **stage.environment}


def _die_with_parent() -> None:
    """Asks Linux to end the stage if the demo is killed, so that a second run does not meet the first."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
