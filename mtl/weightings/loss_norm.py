"""Naive normalisation: each loss divided by its own running mean.

The usual remedy in ranking systems for losses on different scales, kept as a baseline.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared, as_jacobian, combine
from mtl.types import Array
from mtl.weightings.contract import check_losses, check_num_tasks, known_false, per_task


class LossNormState(NamedTuple):
    """State of `loss_norm`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      total: decayed sum of |L_t| `[T]`.
      batches: decayed number of batches in which task t had rows `[T]`.
    """

    weights: Array
    total: Array
    batches: Array


def loss_norm(
    num_tasks: int,
    *,
    weights: float | Sequence[float] = 1.0,
    decay: float = 0.99,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Weighs every loss by the inverse of its running mean.

        a_t = w_t / L̄_t,    L̄_t = Σ_k γ^(n−k) |L_t(k)| / Σ_k γ^(n−k)

    The mean includes the current batch. A batch without rows for a task (loss exactly 0) leaves its
    mean alone; before the first such row its weight is w_t. Cost: one backward pass.

    Args:
      num_tasks: T.
      weights: w, one number or T numbers.
      decay: γ in (0, 1]; 1 is the plain mean of all batches.
      shared: the leaves on which the weights act; None weighs the whole loss.

    Returns:
      A gradient transformation; see `mtl.weightings`. `update` needs `losses=`.

    Raises:
      InputError: an argument is out of range.
    """
    check_num_tasks(num_tasks)
    base = per_task("weights", weights, num_tasks)
    if known_false((base >= 0).all() & base.any()):
        raise InputError(f"weights are {weights!r}, expected numbers ≥ 0, not all of them zero")
    if known_false((decay > 0) & (decay <= 1)):
        raise InputError(f"decay is {decay!r}, expected a number in (0, 1]")

    def init_fn(params):
        del params
        # Three arrays, not one thrice: a state whose leaves share a buffer cannot be donated.
        return LossNormState(*(jnp.zeros(num_tasks, jnp.float32) for _ in LossNormState._fields))

    def update_fn(updates, state, params=None, *, losses, **extra):
        del params, extra
        losses = jnp.abs(check_losses(losses, num_tasks)).astype(jnp.float32)
        live = losses != 0  # also true for NaN, which must show
        total = jnp.where(live, decay * state.total + losses, state.total)
        count = jnp.where(live, decay * state.batches + 1.0, state.batches)
        mean = jnp.where(count > 0, total / jnp.maximum(count, 1.0), 1.0)
        w = jnp.asarray(base, jnp.float32) / mean
        return combine(as_jacobian(updates), w, shared), LossNormState(w, total, count)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
