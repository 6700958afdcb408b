"""What a recipe leaves open: an option that is a list is tried with each of its values."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any


def choices(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The table once for each combination of the values of those options that are lists, the first varying slowest."""
    lists = {name: value for name, value in table.items() if isinstance(value, list | tuple)}
    return [{**table, **dict(zip(lists, values, strict=True))} for values in product(*lists.values())]
