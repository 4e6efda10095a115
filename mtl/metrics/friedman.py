"""Several methods over several blocks: Friedman's test, critical difference, cliques."""

import math
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from mtl.errors import InputError
from mtl.metrics.across_tasks import mean_rank


class FriedmanTest(NamedTuple):
    """Whether k methods differ over N blocks.

    Attributes:
      mean_ranks: `[k]` rank of each method averaged over blocks; 1 is best.
      chi2: Friedman's statistic, corrected for ties.
      chi2_p_value: its p-value from χ² with k − 1 degrees of freedom, conservative for few blocks.
      f: the statistic of Iman and Davenport; infinite when all blocks agree.
      p_value: its p-value from F with k − 1 and (k − 1)(N − 1) degrees of freedom: the one to use.
      n: number of blocks N.
    """

    mean_ranks: np.ndarray
    chi2: float
    chi2_p_value: float
    f: float
    p_value: float
    n: int


def friedman_test(values: ArrayLike, higher_is_better: ArrayLike) -> FriedmanTest:
    """Friedman's test with the correction of Iman and Davenport.

    `χ² = 12N / (k(k+1)) (Σ_j R_j² − k(k+1)²/4) / (1 − Σ (t³ − t) / (N k (k²−1)))` over groups of t
    equal values within a block, and `F = (N−1) χ² / (N(k−1) − χ²)`.

    Args:
      values: `[N, k]`, one row per block (a data set, or a seed that all methods share) and one column
        per method. Blocks must be independent: two tasks of one run are not two blocks.
      higher_is_better: bool, or `[N]` bools where blocks have different metrics.

    Returns:
      The test. All NaN where a value is NaN or there are fewer than two blocks or methods; p is 1
      where all values of every block are equal. When all blocks agree F has no p-value, and the exact
      one is given: `(k! / Π t!)^{1−N}`, the chance that the other blocks repeat the first.

    Raises:
      InputError: `values` has not two axes.

    Reference:
      Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7 (2006), section
      3.2.2; Iman & Davenport (1980). Departure: corrected for ties, as in SciPy.
    """
    value = np.asarray(values, np.float64)
    if value.ndim != 2:
        raise InputError(f"values have shape {value.shape}, expected [blocks, methods]")
    n, k = value.shape
    nan = math.nan
    if n < 2 or k < 2 or np.isnan(value).any():
        return FriedmanTest(np.full(k, nan), nan, nan, nan, nan, n)
    ranks = mean_rank(value.T, np.broadcast_to(higher_is_better, n))
    ties = [np.unique(row, return_counts=True)[1] for row in value]
    tied = sum(float(np.sum(t.astype(float) ** 3 - t)) for t in ties)
    untied = 1 - tied / (n * k * (k * k - 1))
    if untied <= 0:
        return FriedmanTest(ranks, 0.0, 1.0, 0.0, 1.0, n)
    chi2 = 12 * n / (k * (k + 1)) * float(np.sum((ranks - (k + 1) / 2) ** 2)) / untied
    of_chi2 = float(scipy.special.chdtrc(k - 1, chi2))
    room = n * (k - 1) - chi2
    if room <= 1e-12 * n * (k - 1):
        ways = math.lgamma(k + 1) - sum(math.lgamma(t + 1) for t in ties[0])
        return FriedmanTest(ranks, chi2, of_chi2, math.inf, math.exp((1 - n) * ways), n)
    f = (n - 1) * chi2 / room
    p_value = float(scipy.special.fdtrc(k - 1, (k - 1) * (n - 1), f))
    return FriedmanTest(ranks, chi2, of_chi2, f, p_value, n)


def critical_difference(methods: int, blocks: int, level: float = 0.05) -> float:
    """Nemenyi's critical difference of mean ranks, `CD = q_α √(k(k+1) / (6N))`.

    q_α is the upper α point of the studentised range of k values with infinite degrees of freedom,
    divided by √2.

    Args:
      methods: k ≥ 2.
      blocks: N ≥ 1, independent as for `friedman_test`.
      level: chance α of any false difference, in (0, 1).

    Returns:
      The difference of mean ranks from which two methods differ.

    Raises:
      InputError: an argument is out of range.

    Reference:
      Nemenyi (1963); Demšar, JMLR 7 (2006), section 3.2.2 and table 5.
    """
    if methods < 2 or blocks < 1 or not 0 < level < 1:
        raise InputError(
            f"{methods} methods, {blocks} blocks and level {level}: expected at least 2, at least 1, "
            "and a number between 0 and 1"
        )
    q = float(scipy.stats.studentized_range.isf(level, methods, np.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * blocks))


def cliques(mean_ranks: ArrayLike, difference: float) -> tuple[tuple[int, ...], ...]:
    """Groups of methods that are not different: the bars of a critical-difference plot.

    Args:
      mean_ranks: `[k]`; a method with a NaN rank is in no group.
      difference: the critical difference; methods this far apart or further differ.

    Returns:
      The largest runs of methods, best first, whose mean ranks span less than `difference`, as indices
      into `mean_ranks`. Runs overlap; a method that differs from all others is in none.

    Reference:
      Demšar, JMLR 7 (2006), figure 1.
    """
    ranks = np.asarray(mean_ranks, np.float64)
    order = np.argsort(ranks, kind="stable")[: np.count_nonzero(~np.isnan(ranks))]
    runs: list[tuple[int, ...]] = []
    end = 0
    for start in range(len(order)):
        stop = start + int(np.count_nonzero(ranks[order[start:]] - ranks[order[start]] < difference))
        if stop > end and stop - start > 1:
            runs.append(tuple(int(i) for i in order[start:stop]))
        end = max(end, stop)
    return tuple(runs)
