"""Do predicted probabilities mean what they say?"""

import numpy as np
import scipy
from numpy.typing import ArrayLike

from mtl.errors import InputError
from mtl.metrics.rows import select_rows


def calibration_ratio(logits: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Predicted over actual rate, `mean σ(z) / mean y`; 1 is best, above 1 promises too much.

    Args:
      logits: `[N]`.
      labels: `[N]`, 0 or 1.
      mask: `[N]` bool, the rows that count; None for all.

    Returns:
      A number ≥ 0; NaN when no counted row is positive.

    Raises:
      InputError: the shapes do not fit one another.
    """
    logit, label = select_rows(logits, labels, mask)
    if not label.any():
        return float("nan")
    return float(scipy.special.expit(logit).sum() / label.sum())


def ece(logits: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None, *, num_bins: int = 15) -> float:
    """Expected calibration error, `Σ_b (n_b / N) |mean_b σ(z) − mean_b y|`.

    Bins are equally wide in the predicted probability of class 1; an edge belongs to the bin above.

    Args:
      logits: `[N]`.
      labels: `[N]`, 0 or 1.
      mask: `[N]` bool, the rows that count; None for all.
      num_bins: number of bins over [0, 1].

    Returns:
      A number in [0, 1]; NaN when no row counts or a logit is NaN.

    Raises:
      InputError: the shapes do not fit one another or `num_bins` is below 1.

    Reference:
      Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3. Departure: bins
      are over the probability of class 1, as usual for click models, not over max(p, 1 − p).
    """
    if num_bins < 1:
        raise InputError(f"num_bins is {num_bins}, expected at least 1")
    logit, label = select_rows(logits, labels, mask)
    if not label.size or np.isnan(logit).any():
        return float("nan")
    probability = scipy.special.expit(logit)
    bins = np.minimum((probability * num_bins).astype(np.int64), num_bins - 1)
    # n_b |mean p − mean y| is |Σ (p − y)| within the bin.
    gaps = np.bincount(bins, weights=probability - label, minlength=num_bins)
    return float(np.abs(gaps).sum() / label.size)
