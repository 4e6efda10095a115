"""DualProj: the mean gradient projected on the cone of directions that no task opposes.

Reference:
  D. Lopez-Paz and M. Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017, eqs.
  (8)–(11); as an aggregator in P. Quinton and V. Rey, arXiv 2406.16232, Section 4.
"""

from collections.abc import Sequence

import optax

from mtl.jacobian import Shared
from mtl.solvers import cone_qp
from mtl.weightings.contract import gramian_weighting, infer_num_tasks
from mtl.weightings.upgrad import positive_preference


def dual_proj(
    num_tasks: int | None = None,
    *,
    preference: float | Sequence[float] | None = None,
    tap: bool = False,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Moves along the projection of Σ_i p_i g_i on {x : Jx ≥ 0}.

        a = argmin ½ vᵀGv   s.t.   v ≥ p

    Non-conflicting: Ga ≥ 0. Where the preferred combination opposes no task, a = p. Cost: T backward
    passes; with a tap T through the heads and one full.

    Args:
      num_tasks: T; needed inside `scan` unless `preference` tells it.
      preference: p > 0, one number or T; None for 1/T.
      tap: read the gradients at the tap of `task_jacobian`.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`. `state.residual` is the optimality gap of the QP, see
      `mtl.solvers.cone_residual`.

    Raises:
      InputError: an argument is out of range.
    """
    num_tasks = infer_num_tasks(num_tasks, preference)
    positive_preference(preference, num_tasks or 1)

    def solve(gramian):
        return cone_qp(gramian, positive_preference(preference, len(gramian)))

    return gramian_weighting(solve, num_tasks, shared=shared, tap=tap)
