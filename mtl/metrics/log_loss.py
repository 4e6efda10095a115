"""Log losses in nats, computed from logits."""

import numpy as np
from numpy.typing import ArrayLike

from mtl.metrics.rows import select_rows


def log_loss(logits: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Mean binary log loss, `mean log(1 + exp(∓z))`: − on positive rows, + on negative ones.

    Args:
      logits: `[N]`.
      labels: `[N]`, 0 or 1.
      mask: `[N]` bool, the rows that count; None for all.

    Returns:
      Nats per row; exact for logits of any size, and NaN when no row counts.

    Raises:
      InputError: the shapes do not fit one another.
    """
    logit, label = select_rows(logits, labels, mask)
    if not label.size:
        return float("nan")
    with np.errstate(invalid="ignore"):  # a NaN logit makes the loss NaN, quietly
        return float(np.mean(np.logaddexp(0.0, np.where(label == 1, -logit, logit))))


def multiclass_log_loss(logits: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Mean categorical log loss, `mean (log Σ_k exp z_k − z_y)`.

    Args:
      logits: `[N,K]`.
      labels: `[N]`, a class in 0…K−1.
      mask: `[N]` bool, the rows that count; None for all.

    Returns:
      Nats per row, NaN when no row counts.

    Raises:
      InputError: the shapes do not fit one another.
    """
    logit, label = select_rows(logits, labels, mask, ndim=2)
    if not label.size:
        return float("nan")
    # Relative to the true class, the terms are exact even where the loss is far below 1e-16.
    true = np.take_along_axis(logit, label.astype(np.int64)[:, None], axis=1)
    with np.errstate(invalid="ignore"):  # a NaN logit, or inf − inf, makes the loss NaN, quietly
        return float(np.mean(np.logaddexp.reduce(logit - true, axis=1)))


def normalised_entropy(logits: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Log loss over that of always predicting the rate of these rows, `L / (−r log r − (1 − r) log(1 − r))`.

    Args:
      logits: `[N]`.
      labels: `[N]`, 0 or 1.
      mask: `[N]` bool, the rows that count; None for all.

    Returns:
      A number ≥ 0; below 1 is better than the constant rate. NaN when only one class is present.

    Raises:
      InputError: the shapes do not fit one another.

    Reference:
      He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD 2014.
    """
    _, label = select_rows(logits, labels, mask)
    rate = label.mean() if label.size else 0.0
    if rate in (0.0, 1.0):
        return float("nan")
    entropy = -rate * np.log(rate) - (1 - rate) * np.log1p(-rate)
    return float(log_loss(logits, labels, mask) / entropy)
