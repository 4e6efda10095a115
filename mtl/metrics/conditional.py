"""Conditional probabilities from joint ones: how well they order, and how far they are from a known truth."""

import numpy as np
from numpy.typing import ArrayLike

from mtl.metrics.auc import auc


def log_conditional(joint: ArrayLike, required: ArrayLike) -> np.ndarray:
    """Log of P(event | required) = σ(joint) / σ(required), at most 0.

    Args:
      joint: `[N]` logits of the event, which implies the required one.
      required: `[N]` logits of the required event.

    Returns:
      `[N]` float64. A model that does not know of the implication may give a ratio above 1, which counts as
      1.
    """
    joint, required = np.asarray(joint, np.float64), np.asarray(required, np.float64)
    return np.minimum(np.logaddexp(0.0, -required) - np.logaddexp(0.0, -joint), 0.0)


def conditional_metrics(
    log_rate: ArrayLike, labels: ArrayLike, happened: ArrayLike, truth: ArrayLike | None = None
) -> dict[str, float]:
    """How good a conditional probability is, where it can be observed and where it cannot.

    Args:
      log_rate: `[N]`, log of the predicted conditional probability.
      labels: `[N]`, whether the event happened.
      happened: `[N]` bool, whether the required event did: there the labels show the conditional probability.
      truth: `[N]` true conditional probabilities; None or NaN where unknown.

    Returns:
      `auc_given` on the rows where the required event happened; where the truth is known also `truth_mae`,
      `truth_rmse` and `truth_ratio` (mean predicted over mean true) on the rows where it did **not**, of
      which no label tells. NaN where there are no such rows.
    """
    log_rate, happened = np.asarray(log_rate, np.float64), np.asarray(happened, bool)
    found = {"auc_given": auc(log_rate, labels, happened)}
    return found if truth is None else {**found, **truth_metrics(np.exp(log_rate), truth, ~happened)}


def truth_metrics(rate: ArrayLike, truth: ArrayLike, rows: ArrayLike) -> dict[str, float]:
    """Distance of predictions from the truth: of probabilities, or of expected values.

    Args:
      rate: `[N]` predictions.
      truth: `[N]` true ones; NaN where unknown.
      rows: `[N]` bool, the rows that count.

    Returns:
      `truth_mae`, `truth_rmse` and `truth_ratio`, mean predicted over mean true; NaN without rows.
    """
    rate, truth = np.asarray(rate, np.float64), np.asarray(truth, np.float64)
    live = np.asarray(rows, bool) & np.isfinite(truth)
    if not live.any():
        return dict.fromkeys(("truth_mae", "truth_rmse", "truth_ratio"), float("nan"))
    error = rate[live] - truth[live]
    total = truth[live].sum()
    return {
        "truth_mae": float(np.abs(error).mean()),
        "truth_rmse": float(np.sqrt(np.square(error).mean())),
        "truth_ratio": float(rate[live].sum() / total) if total > 0 else float("nan"),
    }
