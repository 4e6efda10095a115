"""Label smoothing: part of every label is spread over all classes.

Reference: C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016.
"""

import jax
import jax.numpy as jnp

from mtl.tasks.losses.cross_entropy import binary_loss, multiclass_loss
from mtl.types import Array


def smoothed_loss(outputs: Array, labels: Array, *, smoothing: float) -> Array:
    """Binary cross-entropy with the label (1 − ε) y + ε/2.

    Args:
      outputs: logits `[…, 1]`.
      labels: `[…]` in {0, 1}.
      smoothing: ε in [0, 1].

    Returns:
      `[…]` in nats.
    """
    return binary_loss(outputs, (1.0 - smoothing) * labels + 0.5 * smoothing)


def multiclass_smoothed_loss(outputs: Array, labels: Array, *, smoothing: float) -> Array:
    """Cross-entropy with the true class and with the uniform distribution, (1 − ε) CE(y, z) + ε CE(1/K, z).

    Args:
      outputs: logits `[…, K]`.
      labels: classes `[…]`.
      smoothing: ε in [0, 1].

    Returns:
      `[…]` in nats.
    """
    uniform = -jnp.mean(jax.nn.log_softmax(outputs), axis=-1)
    return (1.0 - smoothing) * multiclass_loss(outputs, labels) + smoothing * uniform
