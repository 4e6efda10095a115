"""Squared error, of the label and of its logarithm."""

import jax.numpy as jnp

from mtl.types import Array


def squared_loss(outputs: Array, labels: Array) -> Array:
    """Squared error (y − ŷ)² from outputs `[…, 1]` and labels `[…]`; returns `[…]`, without a ½."""
    return jnp.square(outputs[..., 0] - labels)


def squared_log_loss(outputs: Array, labels: Array) -> Array:
    """Squared error of the logarithm, (log(1 + y) − z)²; exp(z) − 1 is served.

    It estimates exp(E[log(1 + y)]) − 1, which is at most E[y] (Jensen), and E[y] only where y does not vary
    given x.

    Args:
      outputs: z `[…, 1]`.
      labels: y ≥ 0 `[…]`.

    Returns:
      `[…]`.
    """
    return jnp.square(outputs[..., 0] - jnp.log1p(labels))
