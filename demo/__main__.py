"""python -m demo [--lake URL] [--spark MASTER] [--ray ADDRESS] [--rows N]"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from demo.display import Display, StageFailed
from demo.flights import ROWS, provide
from demo.ledger import Ledger
from demo.stages import ROOT, Setting, stages
from demo.summary import summary
from jobs import bundle
from mdlake.errors import InvalidArgumentError, MdlakeError
from mdlake.lake.store import open_store
from mdlake.lake.url import LOCAL, parse_url


def main() -> None:
    setting = _setting()
    console = Console(highlight=False)
    _need_java()
    bundle.build(ROOT / "dist")
    try:
        _run(setting, console)
    except (StageFailed, MdlakeError) as error:
        console.print("[red]✗[/red] ", Text(str(error)))
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("stopped; the same command continues")
        sys.exit(130)


def _run(setting: Setting, console: Console) -> None:
    lake = open_store(setting.lake)
    console.print(f"[bold]mdlake[/bold]: NYC flights 2013, {setting.rows:,} rows, in {lake.url}")
    provide(lake, setting.rows)
    ledger = Ledger(lake)
    display = Display(console, _logs(setting))
    ran = 0
    for stage in stages(setting):
        if ledger.is_done(stage):
            display.skip(stage)
        else:
            lake.delete(info.path for folder in stage.clears for info in lake.list(folder))
            ledger.finished(stage, display.run(stage))
            ran += 1
    if not ran:
        console.print("all stages were found done; remove a part of the lake to see it made again")
    console.print()
    console.print(summary(lake, setting.rows))
    console.print(f"\nreport: {lake.url_of('report.html')}\nlogs:   {_logs(setting)}")


def _setting() -> Setting:
    parser = argparse.ArgumentParser("python -m demo", description="The whole pipeline on NYC flights 2013.")
    parser.add_argument("--lake", default="demo-lake", help="folder or URL; default: ./demo-lake")
    parser.add_argument("--spark", default="local[*]", help="Spark master; default: this machine")
    parser.add_argument("--ray", default="", help="Ray address (a cluster's, or http://... to submit jobs)")
    parser.add_argument("--rows", type=int, default=ROWS, help="use so many rows, spread over the year")
    parser.add_argument("--recipe", default="", help="recipe of the models; default: flights")
    given = parser.parse_args()
    if not 100 <= given.rows <= ROWS:
        parser.error(f"--rows is between 100 and {ROWS}")
    if given.recipe:
        _check_recipe(parser, given.recipe)
    return Setting(parse_url(given.lake).url, given.spark, given.ray, given.rows, given.recipe)


def _check_recipe(parser: argparse.ArgumentParser, name: str) -> None:
    from ray_tasks.recipe import load_recipe  # imports torch

    try:
        load_recipe(name)
    except InvalidArgumentError as error:
        parser.error(str(error))


def _logs(setting: Setting) -> Path:
    location = parse_url(setting.lake)
    return Path(location.url) / "logs" if location.scheme == LOCAL else ROOT / "build" / "logs"


def _need_java() -> None:
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        sys.exit("Spark needs Java 17: install a JRE (Debian: openjdk-17-jre-headless) or set JAVA_HOME")


if __name__ == "__main__":
    main()
