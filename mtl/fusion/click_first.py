"""A click comes first: what may happen after it raises its value."""

import numpy as np


def click_first(scores: np.ndarray, groups: np.ndarray, *, weights: np.ndarray) -> np.ndarray:
    """p_click (1 + Σ_k w_k p_k), with p_k the scores given a click.

    Args:
      scores: `[N, K]`, the click's in the first column.
      groups: not used.
      weights: w `[K − 1]`.

    Returns:
      `[N]`.
    """
    del groups
    return scores[:, 0] * (1.0 + scores[:, 1:] @ weights)
