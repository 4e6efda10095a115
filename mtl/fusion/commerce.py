"""Expected revenue, with exponents: product of powers of probabilities and the price."""

import numpy as np

TINY = np.finfo(np.float64).tiny


def commerce(scores: np.ndarray, groups: np.ndarray, *, exponents: np.ndarray) -> np.ndarray:
    """log (Π_k p_k^{a_k} · price^{a_K}) = Σ_k a_k log p_k + a_K log price; the logarithm has the same order.

    A score of 0 counts as the smallest number, so that rows with one stay ordered by the others.

    Args:
      scores: `[N, K]` ≥ 0, probabilities and, in the last column, the price.
      groups: not used.
      exponents: a `[K]`.

    Returns:
      `[N]`.
    """
    del groups
    return np.log(np.maximum(scores, TINY)) @ exponents
