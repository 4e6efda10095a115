"""SI: scale-invariant weighting, the sum of the logarithms of the losses.

Reference:
  A. Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022, Section 6 (the baseline SI);
  the same objective is the log-transform of IMTL-L and of UWL at the optimum of their scales.
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


def si(num_tasks: int, *, shared: Shared = None) -> optax.GradientTransformationExtraArgs:
    """Minimises Σ_t log L_t: a_t = 1 / L_t.

    UWL, IMTL-L and GLS have the same stationary direction Σ_t ∇L_t / L_t; they differ from SI by a lag or
    a common factor. A task without rows (loss exactly 0) gets weight 0. Cost: one backward pass.

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
        w = jnp.where(live, 1.0 / losses, 0.0)
        return combine(sized_jacobian(updates, num_tasks), w, shared), WeightsState(w.astype(jnp.float32))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
