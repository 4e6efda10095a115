"""One number for several tasks: Δm, mean rank, gains and the seesaw."""

import numpy as np
from numpy.typing import ArrayLike

from mtl.errors import InputError


def mtl_gain(values: ArrayLike, baseline: ArrayLike, higher_is_better: ArrayLike) -> np.ndarray:
    """Gain over single-task models in units of the metric; positive is better.

    `M − M_single` where higher is better, else `M_single − M`.

    Args:
      values: `[..., M]` metrics of the multi-task model.
      baseline: `[..., M]` the same metrics of single-task models.
      higher_is_better: `[M]` bool.

    Returns:
      `[..., M]` gains.

    Reference:
      Tang et al., "Progressive Layered Extraction", RecSys 2020.
    """
    sign = np.where(np.asarray(higher_is_better, bool), 1.0, -1.0)
    return sign * (np.asarray(values, np.float64) - np.asarray(baseline, np.float64))


def delta_m(values: ArrayLike, baseline: ArrayLike, higher_is_better: ArrayLike) -> np.ndarray:
    """Mean relative change against single-task models in percent; negative is better.

    `Δm = 100/M Σ_i (−1)^{δ_i} (M_i − B_i) / |B_i|`, δ_i = 1 where higher is better.

    Args:
      values: `[..., M]` one metric per task.
      baseline: `[..., M]` the same metrics of single-task models.
      higher_is_better: `[M]` bool.

    Returns:
      `[...]` percent; NaN where a baseline is 0, for which no relative change exists.

    Reference:
      Maninis et al., "Attentive Single-Tasking of Multiple Tasks", CVPR 2019; sign as in Navon et
      al., "Multi-Task Learning as a Bargaining Game", ICML 2022. Departure: the papers divide by
      B_i; |B_i| is the same for positive metrics and keeps the sign right for negative ones (r2).
    """
    base = np.abs(np.asarray(baseline, np.float64))
    scale = np.where(base == 0, np.nan, base)
    return -100.0 * np.mean(mtl_gain(values, baseline, higher_is_better) / scale, axis=-1)


def mean_rank(values: ArrayLike, higher_is_better: ArrayLike) -> np.ndarray:
    """Rank of each method averaged over metrics; 1 is best and equal values share their mean rank.

    A mean rank depends on the set of methods: never compare it across studies. With a leading axis of
    seeds, the ranks of every seed: their mean and interval say more than the ranks of the means.

    Args:
      values: `[..., methods, M]`.
      higher_is_better: `[M]` bool.

    Returns:
      `[..., methods]`; NaN for a method with a NaN metric, which the other methods' ranks ignore.

    Raises:
      InputError: `values` has fewer than two axes.
    """
    value = np.asarray(values, np.float64)
    if value.ndim < 2:
        raise InputError(f"values have shape {value.shape}, expected [..., methods, metrics]")
    cost = np.where(np.asarray(higher_is_better, bool), -value, value)
    mine, others = cost[..., :, None, :], cost[..., None, :, :]
    better = np.sum(others < mine, axis=-2)
    equal = np.sum(others == mine, axis=-2)
    rank = better + (equal + 1) / 2
    return np.mean(np.where(np.isnan(value), np.nan, rank), axis=-1)


def seesaw(gain_low: ArrayLike, gain_high: ArrayLike) -> bool:
    """Whether some task gains while another loses, both beyond their intervals.

    Args:
      gain_low: `[T]` lower ends of the intervals of each task's gain (positive = better).
      gain_high: `[T]` upper ends.

    Returns:
      True when one interval lies above 0 and another below 0; NaN intervals count for neither.

    Reference:
      The phenomenon: Tang et al., "Progressive Layered Extraction", RecSys 2020. Departure: the
      paper compares means; intervals keep noise from being called a seesaw.
    """
    low, high = np.asarray(gain_low, np.float64), np.asarray(gain_high, np.float64)
    return bool(np.any(low > 0) and np.any(high < 0))
