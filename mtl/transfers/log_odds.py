"""Logits of probabilities that are products and mixtures of others, without leaving log space."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from mtl.types import Array


def conjunction(logits: Sequence[Array]) -> Array:
    """Logit of Π_i σ(a_i), finite with finite gradients for logits of any sign up to about ±80.

        log p = Σ_i log σ(a_i),   log(1 − p) = log Σ_i σ(−a_i) Π_{j<i} σ(a_j),   logit = log p − log(1 − p)

    The second sum has positive terms only; 1 − exp(log p) would be 0 in float32 where p is close to 1.

    Args:
      logits: one or more arrays a_i of one shape.

    Returns:
      The logit, of that shape; a_1 itself if it is the only one.
    """
    first, *others = logits
    if not others:
        return first
    happens, fails = jax.nn.log_sigmoid(first), jax.nn.log_sigmoid(-first)
    for logit in others:
        fails = jnp.logaddexp(fails, happens + jax.nn.log_sigmoid(-logit))
        happens = happens + jax.nn.log_sigmoid(logit)
    return happens - fails


def mixture(gate: Array, yes: Array, no: Array) -> Array:
    """Logit of σ(g) σ(a) + (1 − σ(g)) σ(b), finite with finite gradients as `conjunction` is.

    Args:
      gate: g, logit of the probability that the first part is chosen.
      yes: a, logit within the first part.
      no: b, logit within the second part.

    Returns:
      The logit, of the arrays' shape.
    """
    chosen, other = jax.nn.log_sigmoid(gate), jax.nn.log_sigmoid(-gate)
    happens = jnp.logaddexp(chosen + jax.nn.log_sigmoid(yes), other + jax.nn.log_sigmoid(no))
    fails = jnp.logaddexp(chosen + jax.nn.log_sigmoid(-yes), other + jax.nn.log_sigmoid(-no))
    return happens - fails
