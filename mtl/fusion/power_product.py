"""Product of powers of scores that are lifted by one, so that none can be zero."""

import numpy as np


def power_product(
    scores: np.ndarray, groups: np.ndarray, *, weights: np.ndarray, exponents: np.ndarray
) -> np.ndarray:
    """log Π_k (1 + w_k p_k)^{a_k} = Σ_k a_k log(1 + w_k p_k); the logarithm has the same order.

    Args:
      scores: p ≥ 0 `[N, K]`.
      groups: not used.
      weights: w ≥ 0 `[K]`.
      exponents: a `[K]`.

    Returns:
      `[N]`.
    """
    del groups
    return np.log1p(scores * weights) @ exponents
