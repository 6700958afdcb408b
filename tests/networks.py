"""Levels that look like those of small networks: pruned to a few per cent, or dense."""

from __future__ import annotations

import numpy as np

Levels = dict[str, np.ndarray]


def pruned_network() -> Levels:
    """Two layers: the first sees 20 x 20 pixels, most in the middle, the second most of the rows that see most."""
    random = np.random.default_rng(11)
    y, x = np.mgrid[:20, :20]
    middle = np.exp(-((y - 9.5) ** 2 + (x - 9.5) ** 2) / 30).ravel()
    busy = random.gamma(0.7, 1, 60)
    first = _signs(random, random.random((60, 400)) < 0.2 * np.outer(busy, middle))
    second = _signs(random, random.random((30, 60)) < 0.15 * np.outer(random.gamma(1, 1, 30), busy))
    biases = {
        name: _signs(random, random.random(size) < 0.3) for name, size in (("first.bias", 60), ("second.bias", 30))
    }
    return {"first.weight": first, "first.bias": biases["first.bias"], "second.weight": second, **biases}


def dense_network(bits: int) -> Levels:
    """One layer of smooth filters over 12 x 12 pixels, and one of rows of many sizes."""
    random = np.random.default_rng(12)
    noise = random.normal(size=(40, 14, 14))
    smooth = np.mean([noise[:, dy : dy + 12, dx : dx + 12] for dy in range(3) for dx in range(3)], axis=0) * 3
    rows = random.normal(size=(20, 40)) * random.gamma(2, 0.5, (20, 1))
    top = max(2 ** (bits - 1) - 1, 1)
    return {
        "first.weight": np.rint(smooth.reshape(40, 144) * top / 3).clip(-top, top).astype(np.int8),
        "second.weight": np.rint(rows * top / 3).clip(-top, top).astype(np.int8),
    }


def _signs(random: np.random.Generator, kept: np.ndarray) -> np.ndarray:
    return (kept * random.choice([-2, -1, 1, 2], kept.shape)).astype(np.int8)
