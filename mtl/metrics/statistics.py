"""Intervals and tests over seeds."""

from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from mtl.errors import InputError

NAN = float("nan")


class Interval(NamedTuple):
    """A mean and its confidence interval.

    Attributes:
      mean: the mean; NaN without values.
      low: lower end; NaN below two values.
      high: upper end; NaN below two values.
      n: number of values.
    """

    mean: float
    low: float
    high: float
    n: int


class PairedTest(NamedTuple):
    """A paired comparison of a with b.

    Attributes:
      difference: mean of a − b.
      low: lower end of its confidence interval.
      high: upper end.
      p_value: two-sided p-value of "no difference".
      n: number of pairs.
    """

    difference: float
    low: float
    high: float
    p_value: float
    n: int


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean with its Student-t interval, `x̄ ± t_{n−1} s / √n`.

    Args:
      values: `[n]`, one value per seed. A NaN makes the whole interval NaN: leaving out a seed that
        failed would flatter the method.
      confidence: coverage in (0, 1).

    Returns:
      The interval; without values the mean is NaN, and below two values the ends are.

    Raises:
      InputError: `confidence` is not in (0, 1) or `values` has not one axis.
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}, expected a number between 0 and 1")
    value = np.asarray(values, np.float64)
    if value.ndim != 1:
        raise InputError(f"values have shape {value.shape}, expected one value per seed")
    n = value.size
    if n == 0:
        return Interval(NAN, NAN, NAN, 0)
    if n == 1 or not np.isfinite(value).all():
        return Interval(float(value.mean()) if n == 1 else NAN, NAN, NAN, n)
    mean = float(value.mean())
    half = float(scipy.special.stdtrit(n - 1, (1 + confidence) / 2) * value.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def paired_test(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> PairedTest:
    """Paired two-sided t-test of a against b.

    Args:
      a: `[n]`, one value per seed.
      b: `[n]`, the value of the same seed.
      confidence: coverage of the interval, in (0, 1).

    Returns:
      The test. Interval and p-value are NaN below two pairs. When all pairs differ by the same
      amount there is no noise to judge it by: p is 1 if that amount is 0, else NaN (not 0: seeds
      that change nothing are no evidence).

    Raises:
      InputError: a and b have different shapes, or more than one axis.
    """
    settled = p_without_noise(a, b)
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    mean, low, high, n = mean_interval(difference, confidence)
    if settled is not None:
        return PairedTest(mean, low, high, settled, n)
    error = float(difference.std(ddof=1) / np.sqrt(n))
    return PairedTest(mean, low, high, float(2 * scipy.special.stdtr(n - 1, -abs(mean) / error)), n)


def p_without_noise(a: ArrayLike, b: ArrayLike) -> float | None:
    """The p-value of pairs that no test can judge, whatever the test.

    Args:
      a: `[n]`, one value per seed.
      b: `[n]`, the value of the same seed.

    Returns:
      NaN below two pairs or if a value is not finite; 1 if all pairs are equal; NaN if all differ by the same
      amount, up to rounding (seeds that change nothing are no evidence); otherwise None: do the test.

    Raises:
      InputError: a and b have different shapes, or more than one axis.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape:
        raise InputError(f"a has shape {first.shape} and b {second.shape}; pairs need equal shapes")
    if first.ndim != 1:
        raise InputError(f"a and b have shape {first.shape}, expected one value per seed")
    if first.size < 2 or not (np.isfinite(first).all() and np.isfinite(second).all()):
        return NAN
    difference = first - second
    error = float(difference.std(ddof=1) / np.sqrt(difference.size))
    # Equal differences leave a rounding residue of the size of the operands, not an exact 0.
    if error <= 4 * np.finfo(np.float64).eps * max(np.abs(first).max(), np.abs(second).max()):
        return NAN if difference.any() else 1.0
    return None


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's step-down adjustment, which keeps the chance of any false finding below the level.

    `p̃_(i) = max_{j ≤ i} min(1, (m − j + 1) p_(j))` over the m p-values in increasing order.

    Args:
      p_values: `[m]`; NaN marks a comparison that could not be tested, which does not count in m.

    Returns:
      `[m]` adjusted p-values, NaN where the input is.

    Raises:
      InputError: a p-value lies outside [0, 1] or there is more than one axis.

    Reference:
      Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Stat. 6 (1979).
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or np.any((p < 0) | (p > 1)):
        raise InputError("p_values must be a list of numbers in [0, 1] (NaN for untested)")
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
