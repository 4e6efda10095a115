"""Share of rows whose predicted class is the label."""

import numpy as np
from numpy.typing import ArrayLike

from mtl.metrics.rows import select_rows


def accuracy(logits: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Share of rows on the right side of probability one half; a logit of exactly 0 predicts 0.

    Args:
      logits: `[N]`.
      labels: `[N]`, 0 or 1.
      mask: `[N]` bool, the rows that count; None for all.

    Returns:
      A number in [0, 1]; NaN when no row counts or a logit is NaN.

    Raises:
      InputError: the shapes do not fit one another.
    """
    logit, label = select_rows(logits, labels, mask)
    if not label.size or np.isnan(logit).any():
        return float("nan")
    return float(np.mean((logit > 0) == (label == 1)))


def multiclass_accuracy(logits: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Share of rows whose largest logit is the label's; ties go to the lowest class.

    Args:
      logits: `[N,K]`.
      labels: `[N]`, a class in 0…K−1.
      mask: `[N]` bool, the rows that count; None for all.

    Returns:
      A number in [0, 1]; NaN when no row counts or a logit is NaN.

    Raises:
      InputError: the shapes do not fit one another.
    """
    logit, label = select_rows(logits, labels, mask, ndim=2)
    if not label.size or np.isnan(logit).any():
        return float("nan")
    return float(np.mean(np.argmax(logit, axis=1) == label))
