"""Cross-entropies from logits: of binary labels, of shares between 0 and 1, of classes."""

import jax.numpy as jnp
import optax

from mtl.types import Array


def binary_loss(outputs: Array, labels: Array) -> Array:
    """Sigmoid cross-entropy, −y log σ(z) − (1 − y) log σ(−z).

    Linear in the label, so that a share y in [0, 1], such as a play ratio or a teacher's probability, is a
    label like any other: the minimiser is σ(z) = E[y | x].

    Args:
      outputs: logits `[…, 1]`.
      labels: `[…]` in [0, 1].

    Returns:
      `[…]` in nats.
    """
    return optax.sigmoid_binary_cross_entropy(outputs[..., 0], labels)


def multiclass_loss(outputs: Array, labels: Array) -> Array:
    """Softmax cross-entropy from logits `[…, K]` and class labels `[…]`; returns `[…]` in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(outputs, labels.astype(jnp.int32))
