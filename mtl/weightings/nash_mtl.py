"""Nash-MTL: the Nash bargaining solution among the tasks.

Reference:
  A. Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022, Claim 3.1 and Algorithm 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared, combine
from mtl.solvers import fair_weights
from mtl.types import Array
from mtl.weightings.contract import as_float32, balance, check_num_tasks, known_false, sized_jacobian


class NashState(NamedTuple):
    """State of `nash_mtl`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      residual: largest relative violation of Gα = 1/α when it was last solved `[]` float32.
      step: updates so far `[]` int32.
    """

    weights: Array
    residual: Array
    step: Array


def nash_mtl(
    num_tasks: int | None = None,
    *,
    max_norm: float | None = 1.0,
    update_every: int = 1,
    tap: bool = False,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Moves along Jᵀα with Gα = 1/α, α > 0, which maximises Σ_i log ⟨g_i, x⟩ over a ball.

        ‖Jᵀα‖ = √T exactly;    a = α · min(1, max_norm / ‖Jᵀα‖)

    Invariant to the scale of every single gradient: α_i‖g_i‖ does not depend on it. Tasks with a zero
    gradient get weight 0. Cost: T backward passes; with a tap T through the heads and one full; one on the
    steps in between when `update_every` > 1.

    Args:
      num_tasks: T; needed inside `scan`, where the state's shape must not change.
      max_norm: longest step ‖Jᵀa‖; 1 in the reference code, so that in practice ‖Jᵀa‖ = 1 for every T.
        None leaves α as it is.
      update_every: steps between solutions; α is kept in between. 1 in the reference code, 25 to 50 in the
        paper's faster runs.
      tap: read the gradients at the tap of `task_jacobian`.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`. `state.residual` is large at Pareto-stationary points,
      where the equations have no solution: see `mtl.solvers.fair_weights`.

    Raises:
      InputError: an argument is out of range.

    Departures from the paper: Gα = 1/α is the optimality condition of a convex problem and is solved by
    damped Newton steps, instead of a sequence of conic programs that falls back to its last weights when a
    solver fails. Between solutions the weights are kept after clipping, not before.
    """
    check_num_tasks(num_tasks, required=update_every != 1)
    if max_norm is not None and known_false(max_norm > 0):
        raise InputError(f"max_norm is {max_norm!r}, expected None or a number above 0")
    if isinstance(update_every, bool) or not isinstance(update_every, int) or update_every < 1:
        raise InputError(f"update_every is {update_every!r}, expected an integer of at least 1")

    def solve(gramian):
        alpha, residual = fair_weights(gramian)
        if max_norm is None:
            return alpha, residual
        # αᵀGα in units of the largest α: α² alone would overflow for small gradients.
        top = jnp.max(alpha)
        unit = jnp.where(top > 0, top, 1.0)
        share = alpha / unit
        norm = jnp.sqrt(jnp.maximum(share @ (gramian @ share), 0.0)) * unit
        return alpha * jnp.minimum(1.0, max_norm / jnp.where(norm > 0, norm, 1.0)), residual

    def init_fn(params):
        del params
        return NashState(
            jnp.zeros(num_tasks or 0, jnp.float32), jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32)
        )

    def update_fn(updates, state, params=None, **extra):
        del params, extra
        jac = sized_jacobian(updates, num_tasks)

        def anew():
            update, solution = balance(jac, solve, shared, tap=tap)
            return update, as_float32(solution)

        def again():
            return combine(jac, state.weights, shared), (state.weights, state.residual)

        if update_every == 1:
            update, solution = anew()
        else:
            update, solution = jax.lax.cond(state.step % update_every == 0, anew, again)
        weights, residual = solution
        return update, NashState(weights, residual, optax.safe_increment(state.step))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
