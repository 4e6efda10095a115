"""Bias-corrected and accelerated (BCa) ends of an interval, from bootstrap replicates."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy

from mtl.errors import InputError

ROUNDING = 64 * np.finfo(np.float64).eps
"""Replicates this close to the estimate, relative to their size, are equal to it."""


class Estimate(NamedTuple):
    """A statistic and its bootstrap interval; `Interval(*estimate)` where there is one column.

    Attributes:
      value: the statistic of the data: an array, one per column, or a float for data without columns.
      low: lower end of the interval, shaped like `value`.
      high: upper end, shaped like `value`.
      n: number of values, that of the smallest sample where there are several.
    """

    value: Any
    low: Any
    high: Any
    n: int


def bca_ends(
    value: np.ndarray, replicates: np.ndarray, jackknives: Sequence[np.ndarray], confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the BCa interval of every column.

    With `z0 = Φ⁻¹(share of replicates below the value, ties counted half)` and the acceleration
    `a = Σ_j Σ_i U_ji³ / n_j³ / (6 (Σ_j Σ_i U_ji² / n_j²)^{3/2})`, where
    `U_ji = (n_j − 1)(θ̄_j − θ_(ji))` comes from leaving out value i of sample j, the ends are the
    quantiles of the replicates at `Φ(z0 + (z0 + z) / (1 − a (z0 + z)))` for `z = Φ⁻¹(α/2)` and
    `Φ⁻¹(1 − α/2)`.

    Args:
      value: `[C]` the statistic of each column.
      replicates: `[C, R]` the statistic of each resample.
      jackknives: for every sample j, `[C, n_j]` the statistic without value i of that sample.
      confidence: coverage in (0, 1).

    Returns:
      `low [C]` and `high [C]`. A column without a finite bias correction or acceleration (all
      replicates on one side, a statistic that no single value moves), or beyond the pole of the
      formula, gets the percentile interval, `z0 = a = 0`. NaN where a replicate is NaN.

    Raises:
      InputError: `confidence` is not in (0, 1).

    Reference:
      Efron, "Better Bootstrap Confidence Intervals", JASA 82 (1987); Efron & Tibshirani, "An
      Introduction to the Bootstrap" (1993), equations 14.9, 14.10, 14.14 and 14.15. The sum
      over samples is the form that `scipy.stats.bootstrap` uses.
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}, expected a number between 0 and 1")
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = replicates - value[:, None]
        gap[np.abs(gap) <= ROUNDING * np.abs(value)[:, None]] = 0.0
        bias = scipy.special.ndtri(np.mean(0.5 * (gap < 0) + 0.5 * (gap <= 0), axis=1))
        numerator, denominator = np.zeros_like(bias), np.zeros_like(bias)
        for left_out in jackknives:
            n = left_out.shape[1]
            influence = (n - 1) / n * (left_out.mean(axis=1, keepdims=True) - left_out)
            numerator += np.sum(influence**3, axis=1)
            denominator += np.sum(influence**2, axis=1)
        acceleration = numerator / denominator**1.5 / 6
        z = float(scipy.special.ndtri((1 + confidence) / 2))
        levels = []
        for normal in (-z, z):
            shifted = bias + normal
            pole = 1 - acceleration * shifted
            levels.append(np.where(pole > 0, scipy.special.ndtr(bias + shifted / pole), np.nan))
        usable = np.isfinite(bias) & np.isfinite(levels[0]) & np.isfinite(levels[1])
        ordered = np.sort(replicates, axis=1)
        low, high = (
            _quantile(ordered, np.where(usable, level, scipy.special.ndtr(normal)))
            for level, normal in zip(levels, (-z, z))
        )
    return low, high


def _quantile(ordered: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Quantile of each sorted row `[C, R]` at its own level `[C]`, linear between neighbours."""
    last = ordered.shape[1] - 1
    position = level * last
    below = np.minimum(np.floor(position).astype(int), last)
    rows = np.arange(len(ordered))
    left, right = ordered[rows, below], ordered[rows, np.minimum(below + 1, last)]
    value = left + (position - below) * (right - left)
    return np.where(np.isnan(ordered[:, -1]), np.nan, np.where(left == right, left, value))
