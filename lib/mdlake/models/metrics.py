"""How good a classifier is: loss, accuracy and, of two classes, the area under the ROC curve; exact, not binned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Measures:
    """Mean cross entropy in nats, AUC (None of many classes, or where one of two is missing), accuracy, rows."""

    loss: float
    auc: float | None
    accuracy: float
    rows: int

    @property
    def score(self) -> float:
        """What choices go by."""
        return score_of(vars(self))


def score_of(figures: Mapping[str, Any]) -> float:
    """The AUC where there is one, else the accuracy."""
    return figures["accuracy"] if figures.get("auc") is None else figures["auc"]


def score_name(figures: Mapping[str, Any]) -> str:
    """What `score_of` these is."""
    return "accuracy" if figures.get("auc") is None else "AUC"


def measure_binary(logits: np.ndarray, labels: np.ndarray) -> Measures:
    """Measures `logits` float [rows] against `labels` of 0 and 1."""
    logits = logits.astype(np.float64)
    positive = labels > 0.5
    if not len(logits):
        return Measures(float("nan"), None, float("nan"), 0)
    # log(1 + exp(x)) - x y, without overflow
    losses = np.maximum(logits, 0) + np.log1p(np.exp(-np.abs(logits))) - logits * positive
    return Measures(
        loss=float(losses.mean()),
        auc=area_under_roc(logits, positive),
        accuracy=float(((logits >= 0) == positive).mean()),
        rows=len(logits),
    )


def measure_classes(logits: np.ndarray, labels: np.ndarray) -> Measures:
    """Measures `logits` float [rows, classes] against `labels` int [rows]."""
    if not len(logits):
        return Measures(float("nan"), None, float("nan"), 0)
    logits = logits.astype(np.float64)
    top = logits.max(axis=1)
    losses = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top - logits[np.arange(len(labels)), labels]
    return Measures(float(losses.mean()), None, float((logits.argmax(axis=1) == labels).mean()), len(labels))


def area_under_roc(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """The chance that a positive row scores above a negative one, ties counting half.

    This is the Mann-Whitney statistic: the rank sum of the positives (mean ranks for ties), less what it
    would be at its smallest, over the number of pairs (Fawcett, An introduction to ROC analysis, 2006).
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_ranks = last - (counts - 1) / 2
    rank_sum = float(mean_ranks[inverse][positive].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
