"""Several weightings in one program, of which a number picks one."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import GramianJacobian, Shared, combine
from mtl.types import Array
from mtl.weightings.contract import balance, check_num_tasks, sized_jacobian

READS = ("losses", "gramian", "tap")


class SwitchedState(NamedTuple):
    """State of a choice between weightings.

    Attributes:
      weights: the weights just applied `[T]` float32; zeros before the first update.
      residual: optimality gap of the picked method's last solution `[]` float32; 0 where it has none.
      states: the state of every method, of which only the picked one's changes.
    """

    weights: Array
    residual: Array
    states: tuple[Any, ...]


def switched(
    weightings: Sequence[optax.GradientTransformationExtraArgs],
    index: int | Array,
    *,
    num_tasks: int,
    reads: str,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Applies one of several weightings, picked by a number that may be traced.

        u = weightings[index](J)

    The backward passes and the Gramian stand before the choice and the combination of the gradients after
    it, so that one compiled program serves all methods: the model's passes, which are most of what is
    compiled, are there once. Under `vmap` over `index` XLA evaluates every method and picks afterwards; in
    `scan` and `lax.map` the picked one alone runs.

    Args:
      weightings: methods that are functions of losses, Gramian and their own state, made without `shared`
        and `tap`.
      index: which one, from 0.
      num_tasks: T.
      reads: what they need: `losses` alone (one backward pass), the `gramian` at the parameters (T passes),
        or that at the `tap`.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`.

    Raises:
      InputError: `reads` is not one of the three, or there is no weighting.
    """
    check_num_tasks(num_tasks)
    if reads not in READS:
        raise InputError(f"reads is {reads!r}, expected one of {', '.join(READS)}")
    if not weightings:
        raise InputError("weightings is empty, expected at least one")

    def init_fn(params):
        states = tuple(weighting.init(params) for weighting in weightings)
        return SwitchedState(jnp.zeros(num_tasks, jnp.float32), jnp.zeros((), jnp.float32), states)

    def update_fn(updates, state, params=None, **extra):
        jac = sized_jacobian(updates, num_tasks)

        def branch(k):
            def run(gramian, states):
                known = GramianJacobian(gramian)
                coefficients, new = weightings[k].update(known, states[k], params, **extra)
                residual = getattr(new, "residual", jnp.zeros((), jnp.float32))
                states = (*states[:k], new, *states[k + 1 :])
                return coefficients.astype(gramian.dtype), new.weights, residual, states

            return run

        def solve(gramian):
            branches = [branch(k) for k in range(len(weightings))]
            return jax.lax.switch(index, branches, gramian, state.states)

        if reads == "losses":
            solution = solve(jnp.zeros((num_tasks, num_tasks), jnp.float32))
            update = combine(jac, solution[0], shared)
        else:
            update, solution = balance(jac, solve, shared, num_tasks=num_tasks, tap=reads == "tap")
        return update, SwitchedState(*solution[1:])

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
