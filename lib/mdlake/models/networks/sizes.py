"""Sizes that options of networks may have: they may come from a file."""

from __future__ import annotations

from mdlake.errors import InvalidArgumentError

_MOST_LAYERS = 4096


def check_sizes(*sizes: object) -> None:
    """Refuses what is no size of a layer.

    Raises:
        InvalidArgumentError: a size that is no positive 32-bit integer, or more than 4096 of them.
    """
    if not all(type(size) is int and 0 < size < 1 << 31 for size in sizes):
        raise InvalidArgumentError(f"sizes of a network are positive 32-bit integers, not {sizes}")
    check_depth(len(sizes))


def check_depth(layers: int) -> None:
    """Refuses more layers than could be made in reasonable time."""
    if layers > _MOST_LAYERS:
        raise InvalidArgumentError(f"{layers} layers are more than this network takes ({_MOST_LAYERS})")
