"""Huber's loss: squared near the label, absolute far from it.

Reference: P. J. Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35
(1964).
"""

import optax

from mtl.types import Array


def huber_loss(outputs: Array, labels: Array, *, delta: float) -> Array:
    """½ e² where |e| ≤ δ, else δ (|e| − ½ δ), with e = y − ŷ.

    Args:
      outputs: ŷ `[…, 1]`.
      labels: `[…]`.
      delta: δ > 0, in units of the label.

    Returns:
      `[…]`, with a ½, unlike the squared error.
    """
    return optax.huber_loss(outputs[..., 0], labels, delta=delta)
