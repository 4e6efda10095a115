"""DWA: dynamic weight average, more weight where the loss falls more slowly.

Reference:
  S. Liu, E. Johns and A. Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019, eq. (7).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared, combine
from mtl.types import Array
from mtl.weightings.contract import (
    check_losses,
    check_num_tasks,
    check_steps_per_epoch,
    known_false,
    sized_jacobian,
)


class DWAState(NamedTuple):
    """State of `dwa`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      total: sum of the losses of this epoch so far `[T]`.
      last: mean losses of the last finished epoch `[T]`.
      before: mean losses of the epoch before that `[T]`.
      step: updates so far `[]` int32.
    """

    weights: Array
    total: Array
    last: Array
    before: Array
    step: Array


def dwa(
    num_tasks: int, *, steps_per_epoch: int, temperature: float = 2.0, shared: Shared = None
) -> optax.GradientTransformationExtraArgs:
    """Weighs every loss by its rate of change over the last two epochs.

        r_t = L̄_t(e−1) / L̄_t(e−2),    a = T · softmax(r / τ);    ones in the first two epochs

    A task without rows in one of the two epochs has r = 1. Cost: one backward pass.

    Args:
      num_tasks: T.
      steps_per_epoch: updates over which a mean L̄ is taken.
      temperature: τ > 0; large values make the weights equal.
      shared: the leaves on which the weights act; None weighs the whole loss.

    Returns:
      A gradient transformation; see `mtl.weightings`. `update` needs `losses=`.

    Raises:
      InputError: an argument is out of range.
    """
    check_num_tasks(num_tasks)
    check_steps_per_epoch(steps_per_epoch)
    if known_false(temperature > 0):
        raise InputError(f"temperature is {temperature!r}, expected a number above 0")

    def init_fn(params):
        del params
        return DWAState(
            weights=jnp.zeros(num_tasks, jnp.float32),
            total=jnp.zeros(num_tasks, jnp.float32),
            last=jnp.zeros(num_tasks, jnp.float32),
            before=jnp.zeros(num_tasks, jnp.float32),
            step=jnp.zeros((), jnp.int32),
        )

    def update_fn(updates, state, params=None, *, losses, **extra):
        del params, extra
        losses = check_losses(losses, num_tasks).astype(jnp.float32)
        starts = (state.step % steps_per_epoch == 0) & (state.step > 0)
        last = jnp.where(starts, state.total / steps_per_epoch, state.last)
        before = jnp.where(starts, state.last, state.before)
        total = jnp.where(starts, 0.0, state.total) + losses
        known = (last != 0) & (before != 0)
        rate = jnp.where(known, last / jnp.where(known, before, 1.0), 1.0)
        learned = num_tasks * jax.nn.softmax(rate / temperature)
        w = jnp.where(state.step >= 2 * steps_per_epoch, learned, 1.0)
        # A loss that is not finite shows at once, not an epoch later.
        w = jnp.where(jnp.all(jnp.isfinite(losses)), w, jnp.nan)
        new = DWAState(w, total, last, before, optax.safe_increment(state.step))
        return combine(sized_jacobian(updates, num_tasks), w, shared), new

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
