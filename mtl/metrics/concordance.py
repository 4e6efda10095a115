"""Does a real-valued prediction order rows as their labels do?"""

import numpy as np
import scipy
from numpy.typing import ArrayLike

from mtl.metrics.rows import select_rows


def concordance(predictions: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Share of the pairs with different labels that the prediction orders rightly; a tie counts one half.

    With binary labels it is the AUC. It is (1 + (C − D) / M) / 2 with C concordant and D discordant pairs
    among the M pairs whose labels differ, from Kendall's τ, in O(N log N).

    Args:
      predictions: `[N]`.
      labels: `[N]`.
      mask: `[N]` bool, the rows that count; None for all.

    Returns:
      A number in [0, 1]; NaN when all labels are equal or a number is NaN.

    Raises:
      InputError: the shapes do not fit one another.
    """
    prediction, label = select_rows(predictions, labels, mask)
    differ, tied = _pairs(label.size) - _ties(label), _ties(prediction)
    if differ == 0 or np.isnan(prediction).any() or np.isnan(label).any():
        return float("nan")
    apart = _pairs(label.size) - tied
    if apart == 0:
        return 0.5
    tau = scipy.stats.kendalltau(prediction, label).statistic
    return float((1 + tau * np.sqrt(apart / differ)) / 2)


def _pairs(rows: int) -> int:
    return rows * (rows - 1) // 2


def _ties(values: np.ndarray) -> int:
    """Number of pairs with equal values."""
    counts = np.unique(values, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())
