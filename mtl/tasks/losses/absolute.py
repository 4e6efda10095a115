"""Absolute error."""

import jax.numpy as jnp

from mtl.types import Array


def absolute_loss(outputs: Array, labels: Array) -> Array:
    """Absolute error |y − ŷ| from outputs `[…, 1]` and labels `[…]`; returns `[…]`. It estimates medians."""
    return jnp.abs(outputs[..., 0] - labels)
