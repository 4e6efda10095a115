"""Softmax over sampled items, corrected for how often each is sampled (logQ).

References: Y. Bengio, J.-S. Senécal, "Adaptive Importance Sampling to Accelerate Training of a Neural
Probabilistic Language Model", IEEE Trans. Neural Networks 19 (2008); X. Yi et al., "Sampling-Bias-Corrected
Neural Modeling for Large Corpus Item Recommendations", RecSys 2019, for negatives from the batch.
"""

import jax
import jax.numpy as jnp

from mtl.types import Array


def sampled_softmax_loss(
    positive: Array, negative: Array, log_q_positive: Array | float = 0.0, log_q_negative: Array | float = 0.0
) -> Array:
    """−log softmax of the positive item among M sampled ones, with logits s − log q.

    Args:
      positive: scores of the positive items `[B]`.
      negative: scores of the sampled items `[B, M]`.
      log_q_positive: log of the expected number of times that the positive item is sampled `[B]`.
      log_q_negative: the same of the sampled items `[B, M]` or `[M]`.

    Returns:
      `[B]` in nats.
    """
    true = positive - log_q_positive
    logits = jnp.concatenate([true[:, None], negative - log_q_negative], axis=-1)
    return jax.nn.logsumexp(logits, axis=-1) - true


def in_batch_softmax_loss(scores: Array, log_q: Array | float = 0.0, items: Array | None = None) -> Array:
    """`sampled_softmax_loss` with the other rows' items as negatives.

    Args:
      scores: `[B, B]`, row i's user with row j's item; the positives are on the diagonal.
      log_q: log of the probability with which each row's item enters a batch `[B]`.
      items: ids of the rows' items `[B]`; a negative that is the row's own item is left out.

    Returns:
      `[B]` in nats.
    """
    logits = scores - log_q
    if items is not None:
        same = (items[:, None] == items[None, :]) & ~jnp.eye(len(scores), dtype=bool)
        logits = jnp.where(same, -jnp.inf, logits)
    return jax.nn.logsumexp(logits, axis=-1) - jnp.diagonal(logits)
