"""RLW: random loss weighting, new weights at every step.

Reference:
  B. Lin et al., "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning",
  TMLR 2022, Section 3.1 (normal distribution, softmax).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl.jacobian import Shared, combine
from mtl.types import Array
from mtl.weightings.contract import check_losses, check_num_tasks, fresh_key, sized_jacobian, split_key


class RLWState(NamedTuple):
    """State of `rlw`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      key: raw data of the random key `[2]` uint32.
    """

    weights: Array
    key: Array


def rlw(num_tasks: int, *, seed: int = 0, shared: Shared = None) -> optax.GradientTransformationExtraArgs:
    """Draws the weights at every step: a = softmax(z), z ~ N(0, I); Σa = 1.

    With `shared=` given the weights act on the shared leaves alone, which LibMTL calls RGW. Cost: one
    backward pass.

    Args:
      num_tasks: T.
      seed: of the key in the state; `with_key` puts another one in.
      shared: the leaves on which the weights act; None, as in the paper, weighs the whole loss.

    Returns:
      A gradient transformation; see `mtl.weightings`. `update` needs `losses=`.

    Raises:
      InputError: `num_tasks` is out of range.
    """
    check_num_tasks(num_tasks)

    def init_fn(params):
        del params
        return RLWState(jnp.zeros(num_tasks, jnp.float32), fresh_key(seed))

    def update_fn(updates, state, params=None, *, losses, **extra):
        del params, extra
        finite = jnp.all(jnp.isfinite(check_losses(losses, num_tasks)))
        now, later = split_key(state.key)
        w = jnp.where(finite, jax.nn.softmax(jax.random.normal(now, (num_tasks,), jnp.float32)), jnp.nan)
        return combine(sized_jacobian(updates, num_tasks), w, shared), RLWState(w, later)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
