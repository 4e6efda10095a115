"""Euclidean projection on a scaled simplex, by sorting.

Reference:
  J. Duchi et al., "Efficient Projections onto the ℓ1-Ball for Learning in High Dimensions", ICML 2008,
  Figure 1.
"""

import jax.numpy as jnp

from mtl.types import Array


def project_simplex(point: Array, mass: float | Array = 1.0, support: Array | None = None) -> Array:
    """Returns argmin ‖w − point‖² over {w ≥ 0, Σw = mass, w = 0 outside the support}.

    Args:
      point: `[T]`.
      mass: Σw ≥ 0.
      support: bool `[T]` with at least one true entry; None for all.

    Returns:
      w `[T]`.
    """
    x = point if support is None else jnp.where(support, point, -jnp.inf)
    ordered = jnp.sort(x, descending=True)
    finite = jnp.isfinite(ordered)
    partial = jnp.cumsum(jnp.where(finite, ordered, 0.0)) - mass
    threshold = partial / jnp.arange(1, x.shape[0] + 1)
    last = jnp.sum(finite & (ordered > threshold)) - 1
    return jnp.maximum(x - threshold[jnp.maximum(last, 0)], 0.0)
