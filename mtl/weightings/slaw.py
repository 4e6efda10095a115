"""SLAW: weights inverse to how much each loss fluctuates, a stand-in for gradient norms.

Reference:
  M. Crawshaw and J. Košecká, "SLAW: Scaled Loss Approximate Weighting for Efficient Multi-Task Learning",
  arXiv 2109.08218, Algorithm 1.
"""

from typing import NamedTuple

import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared, combine
from mtl.types import Array
from mtl.weightings.contract import check_losses, check_num_tasks, known_false, sized_jacobian


class SLAWState(NamedTuple):
    """State of `slaw`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      mean: running mean of the losses `[T]`.
      variance: running variance of the losses `[T]`.
      batches: batches in which task t had rows `[T]`.
    """

    weights: Array
    mean: Array
    variance: Array
    batches: Array


def slaw(
    num_tasks: int, *, decay: float = 0.99, shared: Shared = None
) -> optax.GradientTransformationExtraArgs:
    """Weighs every loss by the inverse of its standard deviation over the steps.

        a_t = T (1/s_t) / Σ_j (1/s_j),    s_t = √Var_k L_t(k);    Σa = T

    Mean and variance are plain ones over the first 1/(1−β) steps and exponential averages after, the
    current batch included. The weights are 1 until every task has varied. A batch without rows for a task
    (loss exactly 0) leaves its statistics alone. Cost: one backward pass.

    Args:
      num_tasks: T.
      decay: β in [0, 1).
      shared: the leaves on which the weights act; None weighs the whole loss.

    Returns:
      A gradient transformation; see `mtl.weightings`. `update` needs `losses=`.

    Raises:
      InputError: an argument is out of range.

    Departures from the reference code: the variance is updated in Welford's form, because the difference of
    mean square and squared mean loses all digits in float32; s has a floor of 1e-5 of the mean loss instead
    of 1e-5.
    """
    check_num_tasks(num_tasks)
    if known_false((decay >= 0) & (decay < 1)):
        raise InputError(f"decay is {decay!r}, expected a number in [0, 1)")

    def init_fn(params):
        del params
        return SLAWState(*(jnp.zeros(num_tasks, jnp.float32) for _ in SLAWState._fields))

    def update_fn(updates, state, params=None, *, losses, **extra):
        del params, extra
        losses = check_losses(losses, num_tasks).astype(jnp.float32)
        live = losses != 0
        batches = jnp.where(live, state.batches + 1.0, state.batches)
        rate = jnp.maximum(1.0 / jnp.maximum(batches, 1.0), 1.0 - decay)
        gap = losses - state.mean
        mean = jnp.where(live, state.mean + rate * gap, state.mean)
        variance = jnp.where(live, (1.0 - rate) * (state.variance + rate * gap**2), state.variance)
        spread = jnp.maximum(jnp.sqrt(variance), 1e-5 * jnp.abs(mean))
        seen = batches > 0
        ready = jnp.all((batches > 1) & (variance > 0) | ~seen)
        inverse = jnp.where(seen, 1.0 / jnp.where(spread > 0, spread, 1.0), 0.0)
        scaled = num_tasks * inverse / jnp.maximum(jnp.sum(inverse), jnp.finfo(jnp.float32).tiny)
        w = jnp.where(ready & jnp.any(seen), scaled, 1.0)
        w = jnp.where(jnp.all(jnp.isfinite(losses)), w, jnp.nan)
        return combine(sized_jacobian(updates, num_tasks), w, shared), SLAWState(w, mean, variance, batches)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
