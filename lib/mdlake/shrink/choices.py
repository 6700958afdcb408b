"""What a recipe leaves open: an option that is a list is tried with each of its values."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from mdlake.errors import InvalidArgumentError


def choices(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The table once for each combination of the values of those options that are lists, the first varying slowest.

    Lists in tables within it are left as they are.
    """
    if not isinstance(table, Mapping):
        raise InvalidArgumentError(f"options are a table, not {table!r}")
    lists = {name: value for name, value in table.items() if isinstance(value, list | tuple)}
    if empty := [name for name, values in lists.items() if not values]:
        raise InvalidArgumentError(f"{empty[0]} is an empty list: give a value, or several to be tried")
    return [{**table, **dict(zip(lists, values, strict=True))} for values in product(*lists.values())]
