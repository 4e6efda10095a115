"""Errors of a real-valued prediction."""

import numpy as np
from numpy.typing import ArrayLike

from mtl.metrics.rows import select_rows


def mse(predictions: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Mean squared error, `mean (ŷ − y)²`.

    Args:
      predictions: `[N]`.
      labels: `[N]`.
      mask: `[N]` bool, the rows that count; None for all.

    Returns:
      The error in squared units of the label; NaN when no row counts.

    Raises:
      InputError: the shapes do not fit one another.
    """
    prediction, label = select_rows(predictions, labels, mask)
    return float(np.mean((prediction - label) ** 2)) if label.size else float("nan")


def rmse(predictions: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Root mean squared error, `√ mean (ŷ − y)²`.

    Args:
      predictions: `[N]`.
      labels: `[N]`.
      mask: `[N]` bool, the rows that count; None for all.

    Returns:
      The error in units of the label; NaN when no row counts.

    Raises:
      InputError: the shapes do not fit one another.
    """
    return float(np.sqrt(mse(predictions, labels, mask)))


def mae(predictions: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Mean absolute error, `mean |ŷ − y|`.

    Args:
      predictions: `[N]`.
      labels: `[N]`.
      mask: `[N]` bool, the rows that count; None for all.

    Returns:
      The error in units of the label; NaN when no row counts.

    Raises:
      InputError: the shapes do not fit one another.
    """
    prediction, label = select_rows(predictions, labels, mask)
    return float(np.mean(np.abs(prediction - label))) if label.size else float("nan")


def r2(predictions: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Coefficient of determination, `1 − Σ (ŷ − y)² / Σ (y − ȳ)²`.

    Args:
      predictions: `[N]`.
      labels: `[N]`.
      mask: `[N]` bool, the rows that count; None for all.

    Returns:
      A number ≤ 1; 0 is as good as the mean label of these rows. NaN when the labels do not vary.

    Raises:
      InputError: the shapes do not fit one another.
    """
    prediction, label = select_rows(predictions, labels, mask)
    if not label.size or np.all(label == label[0]):
        return float("nan")
    return float(1 - np.sum((prediction - label) ** 2) / np.sum((label - label.mean()) ** 2))
