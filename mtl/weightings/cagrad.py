"""CAGrad: the direction near the mean gradient whose worst task falls fastest.

Reference:
  B. Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021, eqs. (2)–(4) and
  Algorithm 1.
"""

import jax.numpy as jnp
import optax

from mtl.errors import InputError, unknown_name
from mtl.jacobian import Shared
from mtl.solvers import conflict_averse
from mtl.weightings.contract import check_num_tasks, gramian_weighting, known_false

RESCALES = ("none", "one_plus_c", "one_plus_c_squared")


def cagrad(
    num_tasks: int | None = None,
    *,
    c: float = 0.5,
    rescale: str = "one_plus_c_squared",
    tap: bool = False,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Maximises min_i ⟨g_i, x⟩ over ‖x − g₀‖ ≤ c‖g₀‖, g₀ the mean gradient.

        w = argmin over the simplex of (G1/T)ᵀw + c‖g₀‖ √(wᵀGw)
        x = Jᵀa,   a = 1/T + c‖g₀‖ / √(wᵀGw) · w,   divided by 1 | 1 + c | 1 + c²

    c = 0 is the mean gradient. For c ≥ 1 the direction is non-conflicting. Every stationary point of the
    mean loss is one of CAGrad with c < 1. Cost: T backward passes; with a tap T through the heads and one
    full.

    Args:
      num_tasks: T; needed inside `scan`, where the state's shape must not change.
      c: radius of the ball relative to ‖g₀‖, ≥ 0; .4 or .5 in published code.
      rescale: what a is divided by; 1 + c² is the reference code's default.
      tap: read the gradients at the tap of `task_jacobian`.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`. `state.residual` is the optimality gap of w, see
      `mtl.solvers.conflict_averse`.

    Raises:
      InputError: an argument is out of range.

    Departures from the reference code: the dual is solved exactly instead of by SLSQP, and nothing absolute
    (1e-8) is added to the norms.
    """
    check_num_tasks(num_tasks, required=False)
    if known_false(c >= 0):
        raise InputError(f"c is {c!r}, expected a number ≥ 0")
    if rescale not in RESCALES:
        raise unknown_name("CAGrad rescale", rescale, RESCALES)
    divisor = {"none": 1.0, "one_plus_c": 1.0 + c, "one_plus_c_squared": 1.0 + c * c}[rescale]

    def solve(gramian):
        solution = conflict_averse(gramian, c)
        return solution.weights / jnp.asarray(divisor, solution.weights.dtype), solution.residual

    return gramian_weighting(solve, num_tasks, shared=shared, tap=tap)
