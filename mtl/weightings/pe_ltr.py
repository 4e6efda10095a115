"""PE-LTR: Pareto-efficient weights with a floor for every task.

Reference:
  X. Lin et al., "A Pareto-Efficient Algorithm for Multiple Objective Optimization in E-Commerce
  Recommendation", RecSys 2019, Problem (1), Theorem 1 and Algorithm 2 (PECsolver).
"""

from collections.abc import Sequence

import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared
from mtl.solvers import (
    affine_minimiser,
    kkt_residual,
    project_simplex,
    scale_free,
    simplex_qp,
)
from mtl.types import Array
from mtl.weightings.contract import gramian_weighting, infer_num_tasks, known_false, per_task


def pe_ltr(
    num_tasks: int | None = None,
    *,
    floors: float | Sequence[float] = 0.0,
    exact: bool = False,
    tap: bool = False,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Moves along Jᵀa with a = argmin ‖Σ_t a_t g_t‖² over {a ≥ c, Σa = 1}.

    The paper's two steps: drop a ≥ c and solve the equality-constrained problem for ŵ = a − c,

        [G 1; 1ᵀ 0] [ŵ; λ] = [−Gc; 1 − Σc],

    then project ŵ on {w ≥ 0, Σw = 1 − Σc} in the Euclidean norm; a = w + c. The projection gives the
    optimum for T = 2 only; `exact` solves the QP with floors. With G = diag(1, 4) and c = 0 both give
    (0.8, 0.2). Tasks with a zero gradient get their floor. Cost: T backward passes.

    Args:
      num_tasks: T; needed inside `scan` unless `floors` tells it.
      floors: c, one number for all tasks or T numbers, c ≥ 0 and Σc ≤ 1.
      exact: solve the QP instead of the two steps.
      tap: read the gradients at the tap of `task_jacobian`.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`. `state.residual` is the optimality gap in Problem
      (1), which the two steps do not close for T ≥ 3.

    Raises:
      InputError: a floor is negative, the floors sum to more than 1, or lengths disagree.

    Departures from the paper: the projection keeps Σw = 1 − Σc (the printed Σ = 1 is a slip); weights are
    solved for and applied in the same step, where Algorithm 1 applies those of the step before; where G
    is singular, the pseudo-inverse is taken of the cosine matrix, so that scales play no role.
    """
    num_tasks = infer_num_tasks(num_tasks, floors)

    def checked(size: int) -> Array:
        c = per_task("floors", floors, size)
        if known_false((c >= 0).all()):
            raise InputError(f"floors are {floors!r}, expected numbers ≥ 0")
        if known_false(c.sum() <= 1 + 1e-9):
            raise InputError(f"floors are {floors!r} and sum to {c.sum():g}, expected at most 1")
        return jnp.asarray(c, jnp.float32)

    checked(num_tasks or 1)

    def solve(gramian):
        c = checked(len(gramian)).astype(gramian.dtype)
        if exact:
            return simplex_qp(gramian, c)
        weights = two_steps(gramian, c)
        return weights, kkt_residual(gramian, weights, c)

    return gramian_weighting(solve, num_tasks, shared=shared, tap=tap)


def two_steps(gramian: Array, floors: Array) -> Array:
    """PECsolver: the bordered linear system, then the Euclidean projection.

    Args:
      gramian: G `[T, T]`.
      floors: c `[T]`.

    Returns:
      a `[T]`; NaN for a non-finite Gramian; free mass spread evenly when all gradients are zero.

    Reference:
      Lin et al. 2019, Theorem 1 (the linear system) and the non-negative least squares after it.
    """
    qp = scale_free(gramian, floors)
    any_live = jnp.any(qp.live)
    plane = jnp.where(any_live, qp.h, 1.0)
    relaxed = qp.mass * qp.h * affine_minimiser(qp.cosine, plane, qp.q, qp.live)
    relaxed = jnp.where(any_live, relaxed, qp.mass / len(gramian))
    weights = floors + project_simplex(relaxed, qp.mass, qp.live | ~any_live)
    return jnp.where(jnp.all(jnp.isfinite(gramian)), weights, jnp.nan)
