"""Bootstrap intervals of any statistic of one or several samples."""

import math
import warnings
from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import ArrayLike

from mtl.errors import InputError
from mtl.metrics.bca import Estimate, bca_ends

Statistic = Callable[..., np.ndarray]
"""`statistic(*samples, axis=-1)`: reduces the last axis, as `np.mean` and `np.median` do."""

BLOCK = 2**23
"""Numbers resampled at a time, 64 MiB: columns beyond that are done one block after the other."""


def bootstrap_interval(
    values: ArrayLike,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    statistic: Statistic = np.mean,
    expanded: bool = False,
) -> Estimate:
    """BCa bootstrap interval over seeds, of many columns at once.

    For a paired comparison give the differences. With few seeds the interval is too narrow unless it is
    `expanded`. Measured coverage of the 95 % interval of a mean in per cent (BCa / expanded / Student t,
    4000 samples each, standard error 0.4):

    | values      | n = 5        | n = 10       | n = 20       | n = 50       | n = 200      |
    |-------------|--------------|--------------|--------------|--------------|--------------|
    | normal      | 84 / 92 / 95 | 89 / 94 / 95 | 92 / 94 / 94 | 94 / 95 / 95 | 95 / 96 / 96 |
    | exponential | 80 / 87 / 88 | 88 / 93 / 90 | 92 / 94 / 92 | 94 / 94 / 93 | 95 / 95 / 95 |
    | log-normal  | 74 / 82 / 82 | 82 / 88 / 83 | 88 / 90 / 87 | 91 / 92 / 90 | 93 / 93 / 92 |
    Args:
      values: `[n, ...]`, one row per seed. A column with a NaN gets a NaN interval, as in
        `mean_interval`.
      confidence: coverage in (0, 1).
      resamples: number of bootstrap samples; all columns share them, since a seed is one row.
      seed: of the resampling, so that a report says the same twice.
      statistic: see `bootstrap`.
      expanded: see `bootstrap`.

    Returns:
      The estimate, shaped `[...]`.

    Raises:
      InputError: as for `bootstrap`.

    Reference:
      Efron, "Better Bootstrap Confidence Intervals", JASA 82 (1987).
    """
    return bootstrap(
        statistic, values, confidence=confidence, resamples=resamples, seed=seed, expanded=expanded
    )


def bootstrap(
    statistic: Statistic,
    *samples: ArrayLike,
    paired: bool = False,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    expanded: bool = False,
) -> Estimate:
    """BCa bootstrap interval of a statistic of one or several samples.

    For example the ratio of two variances, `bootstrap(lambda a, b, axis: a.var(axis, ddof=1) /
    b.var(axis, ddof=1), a, b)`. See `mtl.metrics.bca` for the formula.

    Args:
      statistic: called as `statistic(*samples, axis=-1)` with arrays `[C, R, n_j]`.
      *samples: `[n_j, ...]`, one row per seed and the same columns `[...]` in all; each column is
        a problem of its own.
      paired: rows of all samples belong together and are drawn together; otherwise the samples
        are drawn independently.
      confidence: coverage in (0, 1).
      resamples: number of bootstrap samples.
      seed: of the resampling.
      expanded: whether to widen the interval as Student's t does a normal one, for few values: its level
        is `1 − 2 Φ(−√(n / (n − 1)) t_{n−1}((1 + confidence) / 2))`, with the smallest n.

    Returns:
      The estimate, shaped `[...]`. Ends are NaN below two values in a sample; a column is NaN where
      a value is not finite, and its ends are where the statistic of a resample is NaN. Equal values
      give an interval of width 0.

    Raises:
      InputError: samples without values' axis, of different columns, or paired and of different
        length; `resamples` below 1 or `confidence` outside (0, 1).

    Reference:
      Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 14; for `expanded` Hesterberg,
      "What Teachers Should Know About the Bootstrap", The American Statistician 69 (2015), who widens the
      percentile interval so.
    """
    data, columns = _as_columns(samples, paired)
    if resamples < 1:
        raise InputError(f"resamples is {resamples}, expected at least 1")
    sizes = [sample.shape[1] for sample in data]
    if expanded and min(sizes) > 1 and 0 < confidence < 1:
        confidence = _expanded(confidence, min(sizes))
    rng = np.random.default_rng(seed)
    draws = [rng.integers(n, size=(resamples, n)) for n in (sizes[:1] if paired else sizes) if n]
    value, low, high = np.full((3, data[0].shape[0]), np.nan)
    finite = np.all([np.isfinite(sample).all(axis=1) for sample in data], axis=0)
    per_column = resamples * (1 if _is_mean(statistic, data) else max(sizes))
    width = max(1, BLOCK // max(1, per_column))
    for start in range(0, len(value) if min(sizes) else 0, width):
        index = start + np.flatnonzero(finite[start : start + width])
        block = [sample[index] for sample in data]
        # A resample may leave a statistic without meaning; the NaN says so, a warning would only repeat it.
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            value[index] = statistic(*block, axis=-1)
            if min(sizes) < 2:
                continue
            replicates = _resampled(statistic, block, draws * len(data) if paired else draws)
            jackknives = [_resampled(statistic, block, rows) for rows in _left_out(sizes, paired)]
        low[index], high[index] = bca_ends(value[index], replicates, jackknives, confidence)
    value, low, high = (column.reshape(columns)[()] for column in (value, low, high))
    return Estimate(value, low, high, min(sizes))


def _expanded(confidence: float, n: int) -> float:
    """The level at which a normal interval is as wide as Student's, the spread taken with n − 1."""
    t = float(scipy.special.stdtrit(n - 1, (1 + confidence) / 2))
    outside = 2.0 * float(scipy.special.ndtr(-math.sqrt(n / (n - 1)) * t))
    return 1.0 - max(outside, 1e-12)  # of two values so little is left out that 1 − outside rounds to 1


def _as_columns(samples: tuple[ArrayLike, ...], paired: bool) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """The samples as `[C, n_j]` and the shape of the columns."""
    arrays = [np.asarray(sample, np.float64) for sample in samples]
    shapes = [array.shape for array in arrays]
    if not arrays or not all(shapes) or len({shape[1:] for shape in shapes}) > 1:
        raise InputError(f"samples have shapes {shapes}, expected [n, ...] with equal columns")
    if paired and len(set(shapes)) > 1:
        raise InputError(f"samples have shapes {shapes}; pairs need equal shapes")
    columns = shapes[0][1:]
    return [array.reshape(len(array), math.prod(columns)).T for array in arrays], columns


def _is_mean(statistic: Statistic, samples: list[np.ndarray]) -> bool:
    return statistic is np.mean and len(samples) == 1


def _resampled(statistic: Statistic, samples: list[np.ndarray], rows: list[np.ndarray]) -> np.ndarray:
    """The statistic `[C, R]` of samples `[C, n_j]` at the rows `[R, m_j]`."""
    if not _is_mean(statistic, samples):
        return np.asarray(statistic(*(x[:, r] for x, r in zip(samples, rows)), axis=-1), np.float64)
    # A mean needs only how often each value was drawn: one matrix product for all columns, fifty times
    # faster than gathering. Subtracting the first value keeps equal values free of rounding.
    first = samples[0][:, :1]
    counts = times_drawn(rows[0], samples[0].shape[1])
    return first + (samples[0] - first) @ counts.T / rows[0].shape[1]


def times_drawn(rows: np.ndarray, n: int) -> np.ndarray:
    """How often each of n values occurs in every resample.

    Args:
      rows: `[R, m]` indices below n.
      n: number of values.

    Returns:
      `[R, n]` counts as floats.
    """
    offset = n * np.arange(len(rows))[:, None]
    return np.bincount((rows + offset).ravel(), minlength=n * len(rows)).reshape(len(rows), n).astype(float)


def _left_out(sizes: list[int], paired: bool) -> list[list[np.ndarray]]:
    """For every sample that loses one value in turn (all together when paired): rows per sample."""
    cases = []
    for j, n in enumerate(sizes[:1] if paired else sizes):
        kept = np.arange(n - 1) + (np.arange(n - 1) >= np.arange(n)[:, None])
        rows = [np.broadcast_to(np.arange(size), (n, size)) for size in sizes]
        cases.append([kept if paired or i == j else row for i, row in enumerate(rows)])
    return cases
