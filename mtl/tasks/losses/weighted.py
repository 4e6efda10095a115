"""Cross-entropy with a weight for each of the two labels."""

import jax.numpy as jnp

from mtl.tasks.losses.cross_entropy import binary_loss
from mtl.types import Array


def weighted_loss(outputs: Array, labels: Array, *, positive: float, negative: float) -> Array:
    """Weighs rows by their label: a · CE(1, z) where y = 1, b · CE(0, z) where y = 0.

    The minimiser has odds a/b times the true ones: subtract log(a/b) from the logit to have probabilities.

    Args:
      outputs: logits `[…, 1]`.
      labels: `[…]` in {0, 1}.
      positive: a ≥ 0.
      negative: b ≥ 0.

    Returns:
      `[…]` in weighted nats.
    """
    return jnp.where(labels > 0, positive, negative) * binary_loss(outputs, labels)
