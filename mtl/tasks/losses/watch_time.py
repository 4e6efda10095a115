"""Watch time as the odds of a logit: exp(z) is served."""

import jax

from mtl.types import Array


def watch_time_loss(outputs: Array, labels: Array) -> Array:
    """Cross-entropy of p = σ(z) with y = t / (1 + t), so that p = y where exp(z) = t.

        ℓ = y softplus(−z) + (1 − y) softplus(z),   y = t / (1 + t),  1 − y = 1 / (1 + t)

    It is `weighted_logistic_loss` with every row as a negative too, divided by 1 + t: long plays count less
    than in proportion. Its minimiser is exp(z) = E[t / (1 + t)] / E[1 / (1 + t)], which is t where t does not
    vary given x, and else below E[t] (Jensen). Choose the unit of t so that t is of the order of 1.

    Args:
      outputs: z `[…, 1]`.
      labels: t ≥ 0 `[…]`.

    Returns:
      `[…]` in nats.
    """
    z = outputs[..., 0]
    return (labels * jax.nn.softplus(-z) + jax.nn.softplus(z)) / (1.0 + labels)
