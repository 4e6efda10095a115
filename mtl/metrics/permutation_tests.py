"""Paired tests without a normal assumption: both flip the signs of the differences."""

import numpy as np
import scipy
from numpy.typing import ArrayLike

from mtl.errors import InputError
from mtl.metrics.statistics import p_without_noise

EXACT_PAIRS = 12
"""Up to this many pairs all 2ⁿ sign patterns are tried."""


def sign_flip_test(a: ArrayLike, b: ArrayLike, resamples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value of "no difference in mean" by flipping the signs of paired differences.

    `p = #{s : |Σ_i s_i d_i| ≥ |Σ_i d_i|} / 2ⁿ` over all sign patterns s for n ≤ 12, otherwise
    `p = (1 + #{…}) / (1 + R)` over R random patterns. With n pairs p is never below 2^{1−n}: five
    seeds cannot reach 0.05.

    Args:
      a: `[n]`, one value per seed.
      b: `[n]`, the value of the same seed.
      resamples: R, used above 12 pairs.
      seed: of the random patterns.

    Returns:
      The p-value; where no test can judge, as for `paired_test` (`p_without_noise`).

    Raises:
      InputError: a and b have different shapes or `resamples` is below 1.

    Reference:
      Fisher, "The Design of Experiments" (1935), section 21; the added one: Phipson & Smyth,
      "Permutation P-values Should Never Be Zero", SAGMB 9 (2010).
    """
    if resamples < 1:
        raise InputError(f"resamples is {resamples}, expected at least 1")
    settled = p_without_noise(a, b)
    if settled is not None:
        return settled
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    n = difference.size
    if n <= EXACT_PAIRS:
        patterns = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        patterns = np.random.default_rng(seed).integers(2, size=(resamples, n))
    sums = np.abs((1.0 - 2.0 * patterns) @ difference)
    # Patterns with the same sum as the data reach it in another order of rounding.
    reached = int(np.count_nonzero(sums >= abs(difference.sum()) - 1e-12 * np.abs(difference).sum()))
    return reached / 2**n if n <= EXACT_PAIRS else (1 + reached) / (1 + resamples)


def wilcoxon_test(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test, exact for every n, ties included.

    `p = min(1, 2 min(P(W ≤ w), P(W ≥ w)))` with `W = Σ_i B_i r_i`, B_i fair coins, r_i the rank of |d_i|
    (mid-ranks for ties) among the differences that are not 0, and w the sum over d_i > 0. The
    distribution of W is built one coin at a time.

    Args:
      a: `[n]`, one value per seed.
      b: `[n]`, the value of the same seed.

    Returns:
      The p-value; where no test can judge, as for `paired_test` (`p_without_noise`).

    Raises:
      InputError: a and b have different shapes.

    Reference:
      Wilcoxon, "Individual Comparisons by Ranking Methods", Biometrics Bulletin 1 (1945). Departure:
      no normal approximation for large n or ties. Differences are compared after rounding to twelve
      digits of the largest value, since 0.91 − 0.90 and 0.81 − 0.80 are a tie.
    """
    settled = p_without_noise(a, b)
    if settled is not None:
        return settled
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    unit = 1e-12 * max(np.abs(first).max(), np.abs(second).max())
    difference = np.round((first - second) / unit)
    difference = difference[difference != 0]
    doubled = np.round(2 * scipy.stats.rankdata(np.abs(difference))).astype(int)
    chance = np.zeros(doubled.sum() + 1)
    chance[0] = 1.0
    for rank in doubled:
        chance[rank:] = 0.5 * (chance[rank:] + chance[: len(chance) - rank])
        chance[:rank] *= 0.5
    observed = doubled[difference > 0].sum()
    tail = min(chance[: observed + 1].sum(), chance[observed:].sum())
    return float(min(1.0, 2 * tail))
