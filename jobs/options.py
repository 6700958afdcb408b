"""Fills a verb's options dataclass from the command line and from a TOML file.

Fields without a default are positional arguments, the others are flags. `--options FILE` names a TOML file
whose table `[<verb>]` (or whose top level, where there is no such table) holds values by field name; a flag
on the command line wins over the file.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from mdlake.errors import InvalidArgumentError, MdlakeError

Options = TypeVar("Options")


@contextmanager
def reported(verb: str) -> Iterator[None]:
    """An error of the library ends the program with its message, not with a stack of frameworks."""
    try:
        yield
    except MdlakeError as error:
        if os.environ.get("MDLAKE_TRACEBACK") == "1":
            raise
        sys.exit(f"{verb}: {error}")


def parse_options(kind: type[Options], verb: str, argv: Sequence[str], description: str) -> Options:
    """The options of one run. Wrong usage ends the program with a message, as argparse does."""
    hints = get_type_hints(kind)
    fields: Sequence[dataclasses.Field] = dataclasses.fields(kind)  # type: ignore[arg-type]
    parser = argparse.ArgumentParser(
        prog=f"jobs/{verb}.py",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for field in fields:
        _add_argument(parser, field, hints[field.name])
    parser.add_argument("--options", metavar="FILE", help="TOML file with values by field name")
    given = vars(parser.parse_args(argv))
    values = from_toml(Path(path), verb) if (path := given.pop("options", None)) else {}
    values.update(given)
    missing = [f.name for f in fields if _is_required(f) and f.name not in values]
    unknown = [name for name in values if name not in hints]
    if missing or unknown:
        parser.error(f"missing: {', '.join(missing)}" if missing else f"no such option: {', '.join(unknown)}")
    try:
        return kind(**{name: _convert(value, hints[name]) for name, value in values.items()})
    except InvalidArgumentError as error:
        parser.error(str(error))


def from_toml(path: Path, verb: str) -> dict[str, Any]:
    """The values that the file holds for `verb`."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InvalidArgumentError(f"not a readable TOML file: {error}", file=str(path)) from error
    return content.get(verb, content)


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _add_argument(parser: argparse.ArgumentParser, field: dataclasses.Field, hint: Any) -> None:
    text = str(field.metadata.get("help", "")).replace("%", "%%")
    if _is_required(field):
        parser.add_argument(field.name, metavar=field.name.upper(), nargs="?", help=text)
        return
    text += _default(field)
    flag = "--" + field.name.replace("_", "-")
    hint = _without_none(hint)
    if hint is bool:
        parser.add_argument(flag, dest=field.name, action=argparse.BooleanOptionalAction, help=text)
    elif _is_mapping(hint):
        parser.add_argument(flag, dest=field.name, action="append", metavar="KEY=VALUE", help=f"{text}; repeatable")
    elif get_origin(hint) is tuple:
        parser.add_argument(flag, dest=field.name, metavar="A,B,...", help=text)
    else:
        parser.add_argument(flag, dest=field.name, metavar="VALUE", help=text)


def _default(field: dataclasses.Field) -> str:
    """What to add to the help: the default as one would write it on the command line, if there is one to show."""
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if isinstance(value, Mapping):
        value = " ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, tuple):
        value = ",".join(value)
    return "" if value in (None, "") else f" (default: {value})"


def _convert(value: Any, hint: Any) -> Any:
    """A value of the command line (text) or of TOML (already typed) as what the field wants."""
    hint = _without_none(hint)
    if _is_mapping(hint):
        pairs = value if isinstance(value, Mapping) else dict(_pair(item) for item in value)
        item_type = (get_args(hint) or (str, str))[1]
        return {key: _convert(item, item_type) for key, item in pairs.items()}
    if get_origin(hint) is tuple:
        items = value.split(",") if isinstance(value, str) else value
        return tuple(_convert(item, get_args(hint)[0]) for item in items)
    if hint is bool and isinstance(value, bool):
        return value
    if hint in (int, float, str):
        try:
            return hint(value)
        except ValueError:
            raise InvalidArgumentError(f"expected {hint.__name__}, found {value!r}") from None
    return value


def _pair(item: str) -> tuple[str, str]:
    key, separator, value = item.partition("=")
    if not separator:
        raise InvalidArgumentError(f"expected KEY=VALUE, found {item!r}")
    return key, value


def _is_mapping(hint: Any) -> bool:
    origin = get_origin(hint) or hint
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return next(part for part in get_args(hint) if part is not type(None))
    return hint
