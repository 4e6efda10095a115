"""What every weighting shares: its state, its checks, and how weights become an update.

A weighting is an `optax.GradientTransformationExtraArgs` whose `update(updates, state, params=None, *,
losses, **extra)` takes the Jacobian of `task_jacobian` (or leaves `[T, *shape]`) and returns an update
shaped like the parameters.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mtl.errors import InputError
from mtl.jacobian import (
    Jacobian,
    Shared,
    StackedJacobian,
    as_jacobian,
    combine,
    gramian,
    select,
    shared_mask,
)
from mtl.types import Array, PyTree


class SolverState(NamedTuple):
    """State of a weighting that solves a problem on the Gramian.

    Attributes:
      weights: the weights just applied `[T]` float32; zeros before the first update.
      residual: scale-free optimality gap of the last solution `[]` float32.
    """

    weights: Array
    residual: Array


def solver_state(num_tasks: int | None) -> SolverState:
    """Returns the state before the first update.

    Without `num_tasks` the weights have length 0 until the first update, which is enough outside
    `scan` and costs one recompilation under `jit`.
    """
    return SolverState(jnp.zeros(num_tasks or 0, jnp.float32), jnp.zeros((), jnp.float32))


def balance(
    updates: Jacobian | PyTree,
    solve: Callable[[Array], tuple[Array, Array]],
    shared: Shared,
    *,
    tap: bool = False,
) -> tuple[PyTree, SolverState]:
    """Forms the Gramian, solves for the weights, and combines the gradients.

    Costs T backward passes. With a tap the T passes stop at the tap and one full pass follows;
    without, the combination is read off the T gradients that exist anyway.

    Args:
      updates: a Jacobian or leaves `[T, *shape]`.
      solve: maps the Gramian `[T, T]` to `(weights [T], residual [])`.
      shared: the leaves that are balanced; the others get their own task's gradient.
      tap: read the Gramian at the tap.

    Returns:
      The update and the new state.
    """
    jac = as_jacobian(updates)
    if tap:
        weights, residual = solve(jac.gramian(tap=True))
        update = combine(jac, weights, shared)
    else:
        stacked = jac.stacked()
        weights, residual = solve(gramian(stacked, shared))
        update = StackedJacobian(stacked).pullback(weights)
        if shared is not None:
            own = jac.pullback(jnp.ones_like(weights))
            update = select(shared_mask(update, shared), update, own)
    return update, SolverState(weights.astype(jnp.float32), residual.astype(jnp.float32))


def check_num_tasks(num_tasks: int | None, *, required: bool = True) -> None:
    """Checks the number of tasks a factory was given.

    Raises:
      InputError: it is missing where it is needed, no integer, or below 1.
    """
    if num_tasks is None and not required:
        return
    if isinstance(num_tasks, bool) or not isinstance(num_tasks, int | np.integer) or num_tasks < 1:
        raise InputError(f"num_tasks is {num_tasks!r}, expected an integer of at least 1")


def per_task(name: str, values: float | Sequence[float], num_tasks: int | None) -> np.ndarray:
    """Turns a scalar or a sequence into one finite float per task.

    Args:
      name: the argument's name, for the message.
      values: a number for all tasks, or T numbers.
      num_tasks: T; None takes the length of `values`.

    Returns:
      `[T]` float64.

    Raises:
      InputError: wrong length, not numbers, or not finite.
    """
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} is {values!r}, expected one number per task") from None
    if array.ndim == 0 and num_tasks is not None:
        array = np.full(num_tasks, array)
    if array.ndim != 1 or (num_tasks is not None and len(array) != num_tasks) or not len(array):
        expected = "one number per task" if num_tasks is None else f"{num_tasks} numbers"
        raise InputError(f"{name} is {values!r}, expected {expected}, one per task")
    if not np.isfinite(array).all():
        raise InputError(f"{name} is {values!r}, expected finite numbers")
    return array


def check_losses(losses: Array, num_tasks: int) -> Array:
    """Returns the losses as float32 or wider, after checking their shape.

    Raises:
      InputError: the shape is not `[T]`.
    """
    if jnp.shape(losses) != (num_tasks,):
        raise InputError(
            f"losses have shape {jnp.shape(losses)}, but the weighting was made for {num_tasks} tasks"
        )
    return jnp.asarray(losses, jnp.promote_types(jnp.result_type(losses), jnp.float32))
