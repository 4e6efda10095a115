"""GLS: the geometric mean of the losses.

Reference:
  S. Chennupati et al., "MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy for
  Multi-Task Learning", CVPR Workshops 2019, eq. (1).
"""

import jax.numpy as jnp
import optax

from mtl.jacobian import Shared, combine
from mtl.weightings.contract import (
    WeightsState,
    check_losses,
    check_num_tasks,
    positive,
    sized_jacobian,
    weights_state,
)


def gls(num_tasks: int, *, shared: Shared = None) -> optax.GradientTransformationExtraArgs:
    """Minimises (Π_t L_t)^(1/T).

        a_t = GLS / (T · L_t),    GLS = exp(mean_t log L_t)

    Its direction is that of `si`, Σ_t ∇L_t / L_t. A task without rows (loss exactly 0) is left out of the
    mean. Cost: one backward pass.

    Args:
      num_tasks: T.
      shared: the leaves on which the weights act; None weighs the whole loss.

    Returns:
      A gradient transformation; see `mtl.weightings`. `update` needs `losses=`. A negative loss has no
      logarithm and makes the weights NaN.

    Raises:
      InputError: `num_tasks` is out of range.
    """
    check_num_tasks(num_tasks)

    def init_fn(params):
        del params
        return weights_state(num_tasks)

    def update_fn(updates, state, params=None, *, losses, **extra):
        del params, extra, state
        losses, live = positive(check_losses(losses, num_tasks))
        count = jnp.maximum(jnp.sum(live), 1)
        mean = jnp.exp(jnp.sum(jnp.where(live, jnp.log(losses), 0.0)) / count)
        w = jnp.where(live, mean / (count * losses), 0.0)
        return combine(sized_jacobian(updates, num_tasks), w, shared), WeightsState(w.astype(jnp.float32))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
