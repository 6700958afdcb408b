"""Fills a verb's options dataclass from the command line and from a TOML file.

Each field is a flag with a default and a help text. `--options FILE` names a TOML file whose table `[<verb>]` (or
whose top level, where there is no such table) holds values by field name; a flag wins over the file.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import Store, open_store
from mdlake.models.opening import open_shards
from mdlake.models.shards import Shards

Options = TypeVar("Options")

_STORAGE = (  # what is carried from the environment to workers, inside tasks: never in logs or records
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
    "AWS_ALLOW_HTTP",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
)


def option(default: Any, text: str) -> Any:
    """A field of an options dataclass, with the help text of its flag."""
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class CommonOptions:
    """What every verb takes."""

    lake: str = option("demo-lake", "folder or URL that holds shards/ and gets all results")
    shards: str = option("", "folder or URL with train/, validation/ and test/; default: shards/ in the lake")
    recipe: str = option("flights", "name of a recipe in ray_tasks/recipes, or path of a TOML file")
    ray: str = option("", "address of a Ray cluster; default: RAY_ADDRESS, else a local one is started")
    teacher: str = option("", "another lake, whose teacher and scores are used; default: those of this lake")
    workers: int = option(2, "workers that share the work")
    seed: int = option(0, "seed of all random numbers")

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InvalidArgumentError(f"workers must be at least 1, not {self.workers}")

    @property
    def store(self) -> Store:
        return open_store(self.lake, storage_options(self.lake))

    @property
    def teacher_store(self) -> Store:
        """Where the teacher and its scores are read; `train` and `score` write to the lake."""
        return open_store(self.teacher, storage_options(self.teacher)) if self.teacher else self.store

    @property
    def stats(self) -> str:
        return self.store.url_of("stats")

    def split(self, name: str, columns: Sequence[str] = ()) -> Shards:
        """The shards of one split, each of which must have the `columns`."""
        url = f"{(self.shards or self.store.url_of('shards')).rstrip('/')}/{name}"
        return open_shards(url, storage_options(url), columns)


def parse_options(kind: type[Options], verb: str, argv: Sequence[str] | None, description: str) -> Options:
    """The options of one run. Wrong usage ends the program with a message, as argparse does."""
    parser = argparse.ArgumentParser(
        prog=f"python -m ray_tasks.{verb}",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        hint = hints[field.name]
        how: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if hint is bool else {"type": hint}
        text = field.metadata.get("help", "").replace("%", "%%")
        parser.add_argument("--" + field.name.replace("_", "-"), default=field.default, help=text, **how)
    text = "TOML file with values by field name"
    parser.add_argument("--options", metavar="FILE", default=argparse.SUPPRESS, help=text)
    try:
        if file := vars(parser.parse_args(argv)).get("options"):
            parser.set_defaults(**_from_toml(Path(file), verb, hints))
        given = vars(parser.parse_args(argv))
        given.pop("options", None)
        return kind(**given)
    except InvalidArgumentError as error:
        parser.error(str(error))


def _from_toml(path: Path, verb: str, hints: Mapping[str, type]) -> dict[str, Any]:
    """The values that the file holds for `verb`, each a field's name and of its type."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(f"not a readable TOML file: {error}", file=str(path)) from error
    values = content.get(verb, content)
    for name, value in values.items():
        if name not in hints:
            raise InvalidArgumentError(f"no such option: {name}; there are {', '.join(hints)}", file=str(path))
        if type(value) is int and hints[name] is float:
            values[name] = float(value)
        elif type(value) is not hints[name]:
            raise InvalidArgumentError(f"{name} must be {hints[name].__name__}, not {value!r}", file=str(path))
    return values


def storage_options(url: str, environment: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """The storage options that workers on other machines need, from this machine's environment."""
    if not url.startswith("s3://"):
        return None
    return {name.lower(): environment[name] for name in _STORAGE if environment.get(name)} or None
