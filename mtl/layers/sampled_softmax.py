"""Which item comes next, among the target and some others drawn at random."""

import jax
import jax.numpy as jnp
import optax

from mtl.types import Array, widened


def sampled_softmax_loss(
    users: Array, items: Array, targets: Array, live: Array, num_sampled: int, key: Array
) -> Array:
    """Mean cross-entropy of the target among itself and items drawn at random.

        L = mean_b −log( exp(u_bᵀ v_{y_b}) / Σ_{j ∈ {y_b} ∪ S} exp(u_bᵀ v_j) )

    S are items drawn uniformly with replacement, the same ones for all rows; where one is the target itself
    it is left out. With `num_sampled` at least the number of items S is all of them, and nothing is drawn.
    Item 0 is padding and never drawn. The draw is uniform, so that no correction for popularity is needed.

    Args:
      users: u `[*S, B, M]`.
      items: v `[*S, V, M]`.
      targets: y `[B]` int32.
      live: `[B]` bool, the rows that count.
      num_sampled: size of S.
      key: of the draw.

    Returns:
      `[*S]` float32; 0 where no row counts.

    Reference: Jean et al., On Using Very Large Target Vocabulary for Neural Machine Translation, ACL 2015,
      https://arxiv.org/abs/1412.2007, for the softmax over a sample.
    """
    vocab_size = items.shape[-2]
    if num_sampled >= vocab_size - 1:
        drawn = jnp.arange(1, vocab_size)
    else:
        drawn = jax.random.randint(key, (num_sampled,), 1, vocab_size)
    of_target = jnp.sum(users * jnp.take(items, targets, axis=-2), axis=-1, keepdims=True)
    of_drawn = users @ jnp.swapaxes(jnp.take(items, drawn, axis=-2), -1, -2)
    of_drawn = jnp.where(targets[:, None] == drawn, -jnp.inf, of_drawn)
    logits = widened(jnp.concatenate([of_target, of_drawn], axis=-1))
    first = jnp.zeros(logits.shape[:-1], jnp.int32)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, first)
    count = jnp.maximum(jnp.sum(live), 1).astype(jnp.float32)
    return jnp.sum(jnp.where(live, losses, 0.0), axis=-1) / count
