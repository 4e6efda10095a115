"""Length adjustment of completion: short videos are played to their end more often than long ones."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mtl.errors import InputError

STATISTICS: dict[str, Callable[[np.ndarray], Any]] = {"median": np.median, "mean": np.mean}


class LengthCurve(NamedTuple):
    """f(length), the usual play ratio of videos of a length, as a curve of straight pieces.

    Attributes:
      lengths: knots, rising: the median length of each bucket.
      ratios: the usual ratio there, above 0.
    """

    lengths: np.ndarray
    ratios: np.ndarray

    def __call__(self, lengths: ArrayLike) -> np.ndarray:
        """Returns f(length) `[...]`; constant beyond the outer knots."""
        return np.interp(np.asarray(lengths, np.float64), self.lengths, self.ratios)


def fit_length_curve(
    lengths: ArrayLike, ratios: ArrayLike, *, buckets: int = 20, statistic: str = "mean"
) -> LengthCurve:
    """Fits f on training rows: buckets of equally many rows by length, one statistic of the ratio in each.

    Args:
      lengths: `[N]` > 0.
      ratios: play ratios or completions `[N]` ≥ 0.
      buckets: number of buckets; fewer where many lengths are equal.
      statistic: `mean`, or `median`, which rows played to the end or not at all may make 1 or 0.

    Returns:
      The curve.

    Raises:
      InputError: a shape or a number makes no sense, or the ratio of a bucket is 0.
    """
    length, ratio = np.asarray(lengths, np.float64), np.asarray(ratios, np.float64)
    if length.ndim != 1 or length.shape != ratio.shape or not length.size:
        raise InputError(f"lengths have shape {length.shape} and ratios {ratio.shape}, expected [N] both")
    if not (np.isfinite(length) & (length > 0) & np.isfinite(ratio) & (ratio >= 0)).all():
        raise InputError("expected finite lengths > 0 and ratios >= 0")
    if isinstance(buckets, bool) or not isinstance(buckets, int) or buckets < 1:
        raise InputError(f"buckets is {buckets!r}, expected an integer >= 1")
    if statistic not in STATISTICS:
        raise InputError(f"statistic is {statistic!r}, expected one of: {', '.join(STATISTICS)}")
    edges = np.unique(np.quantile(length, np.linspace(0, 1, buckets + 1)[1:-1]))
    bucket = np.searchsorted(edges, length, "right")
    used = np.unique(bucket)
    usual = np.array([STATISTICS[statistic](ratio[bucket == b]) for b in used])
    if not (usual > 0).all():
        raise InputError(
            f"the {statistic} ratio of a bucket is 0, by which nothing can be divided; use fewer buckets"
            + (", or statistic='mean'" if statistic == "median" else "")
        )
    return LengthCurve(np.array([np.median(length[bucket == b]) for b in used]), usual)


def adjust_for_length(predicted: ArrayLike, lengths: ArrayLike, curve: LengthCurve) -> np.ndarray:
    """Predicted ratio or completion over what is usual at that length, p / f(length).

    Args:
      predicted: p `[...]` ≥ 0.
      lengths: `[...]`.
      curve: f.

    Returns:
      `[...]`, 1 for what is usual; to be fused in the place of p.
    """
    return np.asarray(predicted, np.float64) / curve(lengths)
