"""FairGrad: α-fair allocation of the descent among the tasks.

Reference:
  H. Ban and K. Ji, "Fair Resource Allocation in Multi-Task Learning", ICML 2024, eqs. (6)–(8).
"""

from collections.abc import Sequence

import optax

from mtl.errors import InputError
from mtl.jacobian import Shared
from mtl.solvers import fair_weights
from mtl.weightings.contract import gramian_weighting, infer_num_tasks, known_false
from mtl.weightings.upgrad import positive_preference


def fairgrad(
    num_tasks: int | None = None,
    *,
    alpha: float = 1.0,
    preference: float | Sequence[float] = 1.0,
    tap: bool = False,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Moves along Jᵀw with (Gw)_i = (p_i / w_i)^(1/α), w > 0.

    α = 1 is Nash-MTL, α → 0 the mean gradient, α → ∞ max–min fairness. Scaling all gradients by s
    multiplies w by s^(−2α/(1+α)). Tasks with a zero gradient get weight 0. With α = 2 and p the weighted
    performance drops against single-task models it is the solver of PIVRG. Cost: T backward passes; with
    a tap T through the heads and one full.

    Args:
      num_tasks: T; needed inside `scan`, where the state's shape must not change.
      alpha: α > 0; 1 in the authors' code, which sweeps 1, 2 and 5. Below .25 and above 10 float32 loses the
        solution when the gradients' lengths differ by orders of magnitude; the residual tells.
      preference: p > 0, one number or T; 1 in the paper.
      tap: read the gradients at the tap of `task_jacobian`.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`. `state.residual` is the largest relative violation of
      the equations. It is large at Pareto-stationary points, where they have no solution: see
      `mtl.solvers.fair_weights`.

    Raises:
      InputError: an argument is out of range.

    Departures from the authors' code: a convex problem is minimised by damped Newton steps instead of
    `scipy.optimize.least_squares`.
    """
    num_tasks = infer_num_tasks(num_tasks, preference)
    if known_false(alpha > 0):
        raise InputError(f"alpha is {alpha!r}, expected a number above 0")
    plain = isinstance(preference, int | float)
    positive_preference(preference, num_tasks or 1)

    def solve(gramian):
        if plain and preference == 1:
            return fair_weights(gramian, alpha)
        p = positive_preference(preference, len(gramian)).astype(gramian.dtype)
        return fair_weights(gramian, alpha, p)

    return gramian_weighting(solve, num_tasks, shared=shared, tap=tap)
