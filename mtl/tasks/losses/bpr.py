"""Bayesian personalised ranking: a positive row should be above a negative one.

Reference: S. Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
"""

import jax
import jax.numpy as jnp

from mtl.types import Array


def bpr_loss(positive: Array, negative: Array) -> Array:
    """−log σ(s⁺ − s⁻) of pairs of scores.

    Args:
      positive: s⁺ `[…]`.
      negative: s⁻ `[…]`.

    Returns:
      `[…]` in nats.
    """
    return jax.nn.softplus(negative - positive)


def bpr_in_batch(scores: Array, labels: Array, groups: Array | None = None) -> Array:
    """Mean of `bpr_loss` over all pairs of rows of one group of which one has the larger label.

    Args:
      scores: `[B]`.
      labels: `[B]`.
      groups: user or request of every row `[B]`; None for one group.

    Returns:
      `[]` in nats; 0, with gradient 0, where there is no such pair.
    """
    pairs = labels[:, None] > labels[None, :]
    if groups is not None:
        pairs &= groups[:, None] == groups[None, :]
    losses = bpr_loss(scores[:, None], scores[None, :])
    return jnp.sum(jnp.where(pairs, losses, 0.0)) / jnp.maximum(jnp.sum(pairs), 1)
