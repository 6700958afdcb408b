"""How good a binary classifier is: loss, area under the ROC curve, accuracy; exact, not binned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Measures:
    """Mean cross entropy in nats, AUC (None where one of the classes is missing), accuracy, rows."""

    loss: float
    auc: float | None
    accuracy: float
    rows: int


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
