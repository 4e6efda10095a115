"""Sum of reciprocal powers of ranks: scores need no common scale."""

import numpy as np
import scipy


def rank_sum(
    scores: np.ndarray,
    groups: np.ndarray,
    *,
    weights: np.ndarray,
    exponents: np.ndarray,
    offsets: np.ndarray,
) -> np.ndarray:
    """Σ_k w_k / (r_k^{a_k} + b_k), with r_k the rank by score k within the request, 1 for the highest.

    Equal scores share the mean of their ranks.

    Args:
      scores: `[N, K]`.
      groups: id of every row's request `[N]`.
      weights: w `[K]`.
      exponents: a `[K]`.
      offsets: b ≥ 0 `[K]`.

    Returns:
      `[N]`.
    """
    ranks = np.empty(scores.shape)
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if rows.size:
            ranks[rows] = scipy.stats.rankdata(-scores[rows], axis=0)
    return (weights / (ranks**exponents + offsets)).sum(axis=1)
