"""IMTL-L: learned scales that bring every weighted loss to 1.

Reference:
  L. Liu et al., "Towards Impartial Multi-Task Learning", ICLR 2021, Section 3.2, eq. (6).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared, combine
from mtl.types import Array
from mtl.weightings.contract import check_losses, check_num_tasks, known_false, per_task, sized_jacobian


class IMTLLState(NamedTuple):
    """State of `imtl_l`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      log_scales: s `[T]` float32, never decayed.
      opt_state: state of the optimiser of s.
    """

    weights: Array
    log_scales: Array
    opt_state: optax.OptState


def imtl_l(
    num_tasks: int,
    *,
    learning_rate: float = 1e-3,
    optimizer: optax.GradientTransformation | None = None,
    init: float | Sequence[float] = 0.0,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Minimises Σ_t e^(s_t) L_t − s_t over the parameters and over s: a_t = e^(s_t).

    At the optimum of s a weight is 1 / L_t and every weighted loss is 1. A batch without rows for a task
    (loss exactly 0) leaves its s alone. Cost: one backward pass.

    Args:
      num_tasks: T.
      learning_rate: of the Adam that learns s.
      optimizer: another optimiser of s, instead of Adam.
      init: s at the start, one number or T.
      shared: the leaves on which the weights act; None, as in the paper, weighs the whole loss.

    Returns:
      A gradient transformation; see `mtl.weightings`. `update` needs `losses=`.

    Raises:
      InputError: an argument is out of range.

    Departures from the paper: s lives in the state with its own optimiser instead of among the model's
    parameters.
    """
    check_num_tasks(num_tasks)
    start = per_task("init", init, num_tasks)
    if known_false(learning_rate > 0):
        raise InputError(f"learning_rate is {learning_rate!r}, expected a number above 0")
    optimizer = optax.adam(learning_rate) if optimizer is None else optimizer

    def init_fn(params):
        del params
        s = jnp.asarray(start, jnp.float32)
        return IMTLLState(jnp.zeros_like(s), s, optimizer.init(s))

    def update_fn(updates, state, params=None, *, losses, **extra):
        del params, extra
        losses = check_losses(losses, num_tasks).astype(jnp.float32)
        w = jnp.exp(state.log_scales)
        slope = jnp.where(losses == 0, 0.0, w * losses - 1.0)
        change, opt_state = optimizer.update(slope, state.opt_state, state.log_scales)
        # s moves one step behind; a loss that is not finite must show in this step's weights.
        w = jnp.where(jnp.all(jnp.isfinite(losses)), w, jnp.nan)
        new = IMTLLState(w, optax.apply_updates(state.log_scales, change), opt_state)
        return combine(sized_jacobian(updates, num_tasks), w, shared), new

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
