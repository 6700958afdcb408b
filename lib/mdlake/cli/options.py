"""Options that several commands have, and how pairs are read."""

from __future__ import annotations

from typing import Annotated

import typer

from mdlake.errors import InvalidArgumentError

Archive = Annotated[str, typer.Argument(metavar="ARCHIVE", help="The archive: a folder or a URL.")]
Storage = Annotated[
    list[str] | None,
    typer.Option("--storage", metavar="KEY=VALUE", help="A storage option, such as endpoint=http://...; repeatable."),
]
OptionsFile = Annotated[
    str | None, typer.Option("--options", metavar="FILE", help="TOML with these options, as columns = ['a', 'b'].")
]
Processes = Annotated[int, typer.Option("--processes", "-p", min=1, help="How many files to work on at once.")]
Version = Annotated[int | None, typer.Option("--version", help="A version of the archive; by default the newest.")]
MaxError = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=BOUND", help="A float column may differ so much: temp=0.01, price=1e-3:rel; repeatable."
    ),
]
Column = Annotated[list[str] | None, typer.Option("--column", help="A column to keep; repeatable (in TOML: columns).")]


def error_bounds_of(pairs: list[str] | None) -> dict[str, str] | None:
    if not pairs:
        return None
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise InvalidArgumentError(f"--max-error takes COLUMN=BOUND, {wrong[0]!r} has no '='")
    return {column: bound for column, _, bound in (pair.rpartition("=") for pair in pairs)}


def storage_of(pairs: list[str] | None) -> dict[str, str] | None:
    if not pairs:
        return None
    for pair in pairs:
        if "=" not in pair:  # the pair itself may be a secret: do not repeat it
            raise InvalidArgumentError("--storage takes KEY=VALUE, one of them has no '='")
    return dict(pair.split("=", 1) for pair in pairs)
