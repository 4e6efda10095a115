"""Weighted logistic regression: clicked rows weigh as much as their watch time.

Reference: P. Covington, J. Adams, E. Sargin, "Deep Neural Networks for YouTube Recommendations", RecSys 2016.
"""

import jax
import jax.numpy as jnp

from mtl.types import Array


def weighted_logistic_loss(outputs: Array, labels: Array, *, clicked: float) -> Array:
    """Logistic loss of the click, where a clicked row has weight t and an unclicked one weight 1.

        ℓ = t softplus(−z) + b softplus(z),   b = 1 where t = 0, else `clicked`

    A row counts as clicked where t > 0. With P the probability of a click, the served odds are

        exp(z) = E[t] / (1 − P + `clicked` · P),

    in the paper, where `clicked` is 0, E[t] / (1 − P), near E[t] while clicks are rare. With `clicked` = 1,
    when every impression is a negative too, they are E[t] itself, whatever the distribution of t. Where all
    rows are clicked and `clicked` is 0, the odds grow without bound.

    Args:
      outputs: z `[…, 1]`.
      labels: t ≥ 0 `[…]`, 0 for rows without a click.
      clicked: weight of a clicked row as a negative, in [0, 1].

    Returns:
      `[…]`, weighted nats.
    """
    z = outputs[..., 0]
    negative = jnp.where(labels > 0, clicked, 1.0)
    return labels * jax.nn.softplus(-z) + negative * jax.nn.softplus(z)
