"""Weighted sum of scores."""

import numpy as np


def weighted_sum(scores: np.ndarray, groups: np.ndarray, *, weights: np.ndarray) -> np.ndarray:
    """Σ_k w_k p_k.

    Args:
      scores: p `[N, K]`.
      groups: not used.
      weights: w `[K]`.

    Returns:
      `[N]`.
    """
    del groups
    return scores @ weights
