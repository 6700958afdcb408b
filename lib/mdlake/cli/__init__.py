"""The `mdlake` command: the table verbs in this process, artifacts, the report.

    archives   encode, restore, verify, inspect, vacuum
    models     model inspect, pack, unpack, export
    options    what several commands take
    shown      tables, a bar, sizes

Each command fills the options of its verb, runs it and says what came of it. What goes wrong is one line on
standard error and exit code 1; wrong usage is exit code 2. Heavy imports wait until a command needs them.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import mdlake
from mdlake.cli import archives, models
from mdlake.cli.options import Storage, storage_of
from mdlake.errors import MdlakeError

app = typer.Typer(
    help="Compress data lakes and models: keep the shortest program that regenerates the data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
model_app = typer.Typer(help="Look into artifacts: models as blocks.", no_args_is_help=True)
app.add_typer(model_app, name="model")


def main() -> None:
    """Runs the command line; errors are told in one line."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # gives memory back: up to 30 % less at the peak
    try:
        app()
    except MdlakeError as error:
        if os.environ.get("MDLAKE_TRACEBACK") == "1":
            raise
        print(f"mdlake: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("mdlake: interrupted; run the same command again to continue", file=sys.stderr)
        sys.exit(130)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"mdlake {mdlake.__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Compress data lakes and models: keep the shortest program that regenerates the data."""


def report(lake: Annotated[str, typer.Argument(metavar="LAKE")], storage: Storage = None) -> None:
    """Write LAKE/report.html from the statistics of its runs."""
    from mdlake.statistics.report import write_report

    print(write_report(lake, storage_of(storage))[0])


for command in (archives.encode, archives.restore, archives.verify, archives.inspect, archives.vacuum, report):
    app.command()(command)
for command in (models.inspect, models.pack, models.unpack, models.export):
    model_app.command()(command)
app.command("export", hidden=True)(models.export)
