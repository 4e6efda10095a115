"""Triplet loss: an anchor should be nearer to the positive than to the negative, by a margin.

Reference: F. Schroff, D. Kalenichenko, J. Philbin, "FaceNet: A Unified Embedding for Face Recognition and
Clustering", CVPR 2015.
"""

import jax.numpy as jnp

from mtl.types import Array


def triplet_loss(anchor: Array, positive: Array, negative: Array, *, margin: float = 0.2) -> Array:
    """max(0, ‖a − p‖² − ‖a − n‖² + m).

    Args:
      anchor: a `[…, D]`, such as a user's vector; normalise vectors to length 1 for the cosine distance.
      positive: p `[…, D]`.
      negative: n `[…, D]`.
      margin: m ≥ 0.

    Returns:
      `[…]`.
    """
    near = jnp.sum(jnp.square(anchor - positive), axis=-1)
    far = jnp.sum(jnp.square(anchor - negative), axis=-1)
    return jnp.maximum(near - far + margin, 0.0)
