"""Focal loss: rows that are easy count less.

Reference: T.-Y. Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017 (arXiv:1708.02002).
"""

import jax
import jax.numpy as jnp

from mtl.tasks.losses.cross_entropy import binary_loss, multiclass_loss
from mtl.types import Array


def focal_loss(outputs: Array, labels: Array, *, alpha: float, gamma: float) -> Array:
    """Binary focal loss, −α_y (1 − p_y)^γ log p_y with p_y the probability of the true label.

    The factor is computed as exp(γ log(1 − p_y)), so that loss and gradient stay finite for sure rows. For
    γ > 0 the minimiser is not the probability: σ(z) lies nearer to ½ and needs calibration.

    Args:
      outputs: logits `[…, 1]`.
      labels: `[…]` in {0, 1}.
      alpha: α_1, the weight of positive rows; α_0 = 1 − α_1. At ½ both count the same, and half.
      gamma: γ ≥ 0; at 0 it is the cross-entropy weighted by α.

    Returns:
      `[…]`.
    """
    away = jax.nn.log_sigmoid(jnp.where(labels > 0, -outputs[..., 0], outputs[..., 0]))
    balance = jnp.where(labels > 0, alpha, 1.0 - alpha)
    return balance * jnp.exp(gamma * away) * binary_loss(outputs, labels)


def multiclass_focal_loss(outputs: Array, labels: Array, *, gamma: float) -> Array:
    """Focal loss of K classes, −(1 − p_y)^γ log p_y, without a weight per class.

    Args:
      outputs: logits `[…, K]`.
      labels: classes `[…]`.
      gamma: γ ≥ 0; at 0 it is the cross-entropy.

    Returns:
      `[…]`.
    """
    true = jax.nn.one_hot(labels.astype(jnp.int32), outputs.shape[-1], dtype=bool)
    others = jax.nn.logsumexp(jnp.where(true, -jnp.inf, outputs), axis=-1)
    away = others - jax.nn.logsumexp(outputs, axis=-1)
    return jnp.exp(gamma * away) * multiclass_loss(outputs, labels)
