"""Probability that one method beats another on a new run."""

import numpy as np
from numpy.typing import ArrayLike

from mtl.errors import InputError
from mtl.metrics.bca import Estimate, bca_ends
from mtl.metrics.bootstrap import times_drawn


def probability_of_improvement(
    x: ArrayLike,
    y: ArrayLike,
    higher_is_better: ArrayLike,
    *,
    paired: bool,
    stratified: bool = False,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Probability that a run of X is better than a run of Y, averaged over tasks.

    `P = 1/T Σ_t P(X_t ≻ Y_t) + ½ P(X_t = Y_t)`: the share of pairs won when runs are paired by seed,
    otherwise the share of all n·m pairs, which is the Mann–Whitney U / (nm). Paired answers "on the same
    seed", unpaired "on any two seeds".

    Args:
      x: `[n]` or `[n, T]`, a row per seed and a column per task.
      y: `[m]` or `[m, T]`; when paired, row i has the seed of row i of x.
      higher_is_better: bool, or `[T]` bools.
      paired: compare runs of the same seed only.
      stratified: columns come from separate runs (data sets) and are resampled independently; by
        default they are the tasks of one run and are resampled together.
      confidence: coverage of the BCa bootstrap interval, in (0, 1).
      resamples: number of bootstrap samples.
      seed: of the resampling.

    Returns:
      The estimate. NaN where a value is NaN or a sample empty; no interval below two rows. Where all
      comparisons score the same s (10 wins of 10), a bootstrap would claim certainty, so the ends are
      `s q` and `1 − (1 − s) q` with `q = (α/2)^{1/min(n, m)}`: min(n, m) independent comparisons scored
      s, and if that had chance below q, it would have happened with a probability below α/2.

    Raises:
      InputError: different tasks, or paired and of different length; `resamples` below 1 or
        `confidence` outside (0, 1).

    Reference:
      Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021,
      section 4.3 (`stratified=True, paired=False`, there with percentile intervals); the bound for equal
      scores is the end case of Clopper & Pearson, Biometrika 26 (1934).
    """
    first, second = _runs(x), _runs(y)
    if first.shape[1:] != second.shape[1:] or (paired and len(first) != len(second)):
        raise InputError(
            f"x has shape {np.shape(x)} and y {np.shape(y)}; expected the same tasks, and when paired "
            "the same seeds"
        )
    if resamples < 1:
        raise InputError(f"resamples is {resamples}, expected at least 1")
    n, m = len(first), len(second)
    if min(n, m) == 0 or first.shape[1] == 0 or np.isnan(first).any() or np.isnan(second).any():
        return Estimate(np.nan, np.nan, np.nan, min(n, m))
    sign = np.where(np.broadcast_to(higher_is_better, first.shape[1]), 1.0, -1.0)
    scores = _scores(sign * first, sign * second, paired)
    strata = list(scores) if stratified else [scores.mean(axis=0)]
    value = float(np.mean(strata))
    if min(n, m) < 2:
        return Estimate(value, np.nan, np.nan, min(n, m))
    rng = np.random.default_rng(seed)
    replicates, jackknives = np.zeros(resamples), []
    for stratum in strata:
        replicates += _replicates(stratum, paired, resamples, rng) / len(strata)
        for axis, size in enumerate(stratum.shape):
            if size > 1:
                means = stratum.mean(axis=1 - axis)
                jackknives.append(value + (stratum.mean() - means) / (size - 1) / len(strata))
    if all(np.ptp(stratum) == 0 for stratum in strata):
        q = ((1 - confidence) / 2) ** (1 / min(n, m))
        return Estimate(value, value * q, 1 - (1 - value) * q, min(n, m))
    low, high = bca_ends(np.array([value]), replicates[None], [j[None] for j in jackknives], confidence)
    return Estimate(value, low[0], high[0], min(n, m))


def _runs(values: ArrayLike) -> np.ndarray:
    """Values as `[n, T]`."""
    array = np.asarray(values, np.float64)
    if array.ndim not in (1, 2):
        raise InputError(f"runs have shape {array.shape}, expected [seeds] or [seeds, tasks]")
    return array if array.ndim == 2 else array[:, None]


def _scores(x: np.ndarray, y: np.ndarray, paired: bool) -> np.ndarray:
    """1 for a win, ½ for a tie, 0 for a loss: `[T, n, 1]` for pairs, else `[T, n, m]`."""
    gap = (x - y).T[:, :, None] if paired else x.T[:, :, None] - y.T[:, None, :]
    return 0.5 * (gap > 0) + 0.5 * (gap >= 0)


def _replicates(scores: np.ndarray, paired: bool, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Mean score `[R]` of resampled runs; rows and columns are drawn independently."""
    n, m = scores.shape
    mean = times_drawn(rng.integers(n, size=(resamples, n)), n) @ scores / n
    if paired:
        return mean[:, 0]
    return np.sum(mean * times_drawn(rng.integers(m, size=(resamples, m)), m), axis=1) / m
