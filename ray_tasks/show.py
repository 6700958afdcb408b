"""What a verb says on the terminal while it works."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from mdlake.errors import MdlakeError

_console = Console(highlight=False, soft_wrap=True)


def say(verb: str, text: str) -> None:
    """One line, prefixed by the verb."""
    _console.print(f"[bold]{verb:<9}[/bold] {text}")


def quality(row: Mapping[str, Any]) -> str:
    """AUC, where there is one, and accuracy."""
    auc = "" if row.get("auc") is None else f"AUC {row['auc']:.4f}  "
    return f"{auc}accuracy {row['accuracy']:.4f}"


@contextmanager
def reported(verb: str) -> Iterator[None]:
    """An error of the library ends the program with its message, not with a stack of frameworks."""
    try:
        yield
    except MdlakeError as error:
        print(f"{verb}: {error}", file=sys.stderr)
        sys.exit(1)


class EpochLines:
    """Shows a line per epoch."""

    def __init__(self, verb: str, epochs: int) -> None:
        self._verb, self._epochs = verb, epochs
        self._begun = time.monotonic()

    def __call__(self, model: str, row: dict[str, Any]) -> None:
        say(
            self._verb,
            f"{model}  epoch {row['epoch']}/{self._epochs}  loss {row['train_loss']:.4f}  validation: "
            f"loss {row['loss']:.4f}  {quality(row)}  "
            f"{time.monotonic() - self._begun:.0f} s",
        )
