"""What every weighting shares: its state, its checks, and how weights become an update.

A weighting is an `optax.GradientTransformationExtraArgs` whose `update(updates, state, params=None, *,
losses, **extra)` takes the Jacobian of `task_jacobian` (or leaves `[T, *shape]`) and returns an update
shaped like the parameters.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl.errors import InputError
from mtl.jacobian import (
    Jacobian,
    Shared,
    as_jacobian,
    combine,
    cross_gramian,
    select,
    shared_mask,
)
from mtl.types import Array, PyTree


class WeightsState(NamedTuple):
    """State of a weighting that remembers nothing.

    Attributes:
      weights: the weights just applied `[T]` float32; zeros before the first update.
    """

    weights: Array


class SolverState(NamedTuple):
    """State of a weighting that solves a problem on the Gramian.

    Attributes:
      weights: the weights just applied `[T]` float32; zeros before the first update.
      residual: scale-free optimality gap of the last solution `[]` float32.
    """

    weights: Array
    residual: Array


def weights_state(num_tasks: int | None) -> WeightsState:
    """Returns the state before the first update; see `solver_state` about `num_tasks`."""
    return WeightsState(jnp.zeros(num_tasks or 0, jnp.float32))


def solver_state(num_tasks: int | None) -> SolverState:
    """Returns the state before the first update.

    Without `num_tasks` the weights have length 0 until the first update, which is enough outside
    `scan` and costs one recompilation under `jit`.
    """
    return SolverState(jnp.zeros(num_tasks or 0, jnp.float32), jnp.zeros((), jnp.float32))


def balance(
    updates: Jacobian | PyTree,
    solve: Callable[[Array], Any],
    shared: Shared,
    *,
    num_tasks: int | None = None,
    tap: bool = False,
) -> tuple[PyTree, Any]:
    """Forms the Gramian, solves for the weights, and combines the gradients.

    Costs T backward passes. With a tap the T passes stop at the tap and one full pass follows;
    without, the combination is read off the T gradients that exist anyway.

    Args:
      updates: a Jacobian or leaves `[T, *shape]`.
      solve: maps the Gramian `[T, T]`, float32 or wider, to a tuple that begins with the weights `[T]`.
      shared: the leaves that are balanced; the others get their own task's gradient.
      num_tasks: the T that the weighting was made for; None takes any.
      tap: read the Gramian at the tap.

    Returns:
      The update, and the weights with whatever else `solve` returned.

    Raises:
      InputError: the gradients have another number of tasks.
    """
    jac = sized_jacobian(updates, num_tasks)
    if tap:
        solution = solve(jac.gramian(tap=True))
        update = combine(jac, solution[0], shared)
    else:
        evaluated = jac.evaluated()
        solution = solve(evaluated.gramian(shared))
        update = evaluated.pullback(solution[0])
        if shared is not None:
            own = jac.pullback(jnp.ones_like(solution[0]))
            update = select(shared_mask(update, shared), update, own)
    return update, solution


def gramian_weighting(
    solve: Callable[[Array], Any],
    num_tasks: int | None,
    *,
    shared: Shared,
    tap: bool,
    certified: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Makes a weighting without memory from a function of the Gramian.

    Args:
      solve: maps G `[T, T]` to `(weights [T], residual [])`, or to `(weights [T],)`.
      num_tasks: T, or None.
      shared: the leaves that are balanced.
      tap: read the Gramian at the tap.
      certified: whether `solve` returns a residual.

    Returns:
      A weighting with a `SolverState`, or a `WeightsState` without residual.
    """

    def init_fn(params):
        del params
        return solver_state(num_tasks) if certified else weights_state(num_tasks)

    def update_fn(updates, state, params=None, **extra):
        del params, extra
        update, solution = balance(updates, solve, shared, num_tasks=num_tasks, tap=tap)
        return update, type(state)(*as_float32(solution))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def sized_jacobian(updates: Jacobian | PyTree, num_tasks: int | None) -> Jacobian:
    """Wraps the updates as a Jacobian and checks the number of tasks.

    Raises:
      InputError: the gradients have another number of tasks than the weighting.
    """
    jac = as_jacobian(updates)
    if num_tasks is not None and jac.num_tasks != num_tasks:
        raise InputError(
            f"the weighting was made for {num_tasks} tasks, but the gradients have {jac.num_tasks}"
        )
    return jac


def other_batches(
    name: str, jacobians: Sequence[Jacobian | PyTree] | None, num_tasks: int, shared: Shared
) -> Array:
    """The cross-Gramian `[T, T]` of the two further batches that a method asks for.

    Raises:
      InputError: the Jacobians are missing, there are not two, or they have another number of tasks.
    """
    if jacobians is None or len(jacobians) != 2:
        raise InputError(
            f"{name} needs jacobians=(jac_1, jac_2) in update, those of two further batches; "
            "pass (jac, jac) to reuse this one"
        )
    first, second = (sized_jacobian(j, num_tasks).stacked() for j in jacobians)
    return cross_gramian(first, second, shared)


def as_float32(solution: Iterable[Array]) -> tuple[Array, ...]:
    """The parts of a solution as a state keeps them."""
    return tuple(x.astype(jnp.float32) for x in solution)


def fresh_key(seed: int) -> Array:
    """Raw data `[2]` uint32 of a random key: plain numbers pass through every checkpoint and comparison."""
    return jax.random.key_data(jax.random.key(seed))


def split_key(data: Array) -> tuple[Array, Array]:
    """Splits raw key data into a key to use now and raw data to keep."""
    now, later = jax.random.split(jax.random.wrap_key_data(data))
    return now, jax.random.key_data(later)


def check_num_tasks(num_tasks: int | None, *, required: bool = True) -> None:
    """Checks the number of tasks a factory was given.

    Raises:
      InputError: it is missing where it is needed, no integer, or below 1.
    """
    if num_tasks is None and not required:
        return
    if isinstance(num_tasks, bool) or not isinstance(num_tasks, int | np.integer) or num_tasks < 1:
        raise InputError(f"num_tasks is {num_tasks!r}, expected an integer of at least 1")


def is_traced(value: Any) -> bool:
    """Says whether a value, or a part of it, is known only when the program runs."""
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(value))


def known_false(condition: Any) -> bool:
    """Says whether a condition on an argument is known to be false; traced arguments are not judged."""
    return not is_traced(condition) and not condition


def infer_num_tasks(num_tasks: int | None, values: float | Sequence[float] | None) -> int | None:
    """Returns the number of tasks, checked; without one, the length of a per-task argument if it has any.

    Raises:
      InputError: the number is out of range.
    """
    check_num_tasks(num_tasks, required=False)
    if num_tasks is not None or values is None or isinstance(values, int | float):
        return num_tasks
    return None if getattr(values, "ndim", 1) == 0 else len(values)  # a traced number has no length


def per_task(name: str, values: float | Sequence[float], num_tasks: int | None) -> np.ndarray | Array:
    """Turns a scalar or a sequence into one finite float per task.

    Args:
      name: the argument's name, for the message.
      values: a number for all tasks, or T numbers.
      num_tasks: T; None takes the length of `values`.

    Returns:
      `[T]`, float64 of NumPy; of traced values, of which only the shape is checked, a traced array.

    Raises:
      InputError: wrong length, not numbers, or not finite.
    """
    array: Any
    try:
        array = jnp.asarray(values, jnp.float32) if is_traced(values) else np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} is {values!r}, expected one number per task") from None
    if array.ndim == 0 and num_tasks is not None:
        array = jnp.full(num_tasks, array) if is_traced(array) else np.full(num_tasks, array)
    if array.ndim != 1 or (num_tasks is not None and len(array) != num_tasks) or not len(array):
        expected = "one number per task" if num_tasks is None else f"{num_tasks} numbers"
        raise InputError(f"{name} is {values!r}, expected {expected}, one per task")
    if not is_traced(array) and not np.isfinite(array).all():
        raise InputError(f"{name} is {values!r}, expected finite numbers")
    return array


def check_losses(losses: Array, num_tasks: int) -> Array:
    """Returns the losses as float32 or wider, after checking their shape; NaN for those that are not finite.

    An infinite loss would otherwise hide in a weight of 0.

    Raises:
      InputError: the shape is not `[T]`.
    """
    if jnp.shape(losses) != (num_tasks,):
        raise InputError(
            f"losses have shape {jnp.shape(losses)}, but the weighting was made for {num_tasks} tasks"
        )
    losses = jnp.asarray(losses, jnp.promote_types(jnp.result_type(losses), jnp.float32))
    return jnp.where(jnp.isfinite(losses), losses, jnp.nan)


def positive(losses: Array) -> tuple[Array, Array]:
    """Prepares losses for a logarithm or a division.

    Returns:
      The losses with 1 in place of exact zeros and NaN in place of negative ones, and which tasks have
      rows (a loss of exactly 0 has none) `[T]` bool.
    """
    live = losses != 0  # also true for NaN, which must show
    return jnp.where(losses < 0, jnp.nan, jnp.where(live, losses, 1.0)), live


def check_steps_per_epoch(steps_per_epoch: int) -> None:
    """Checks the length of an epoch.

    Raises:
      InputError: it is no integer, or below 1.
    """
    if isinstance(steps_per_epoch, bool) or not isinstance(steps_per_epoch, int) or steps_per_epoch < 1:
        raise InputError(f"steps_per_epoch is {steps_per_epoch!r}, expected an integer of at least 1")
