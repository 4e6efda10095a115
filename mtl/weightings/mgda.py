"""MGDA: the shortest vector in the convex hull of the task gradients.

Reference:
  O. Sener and V. Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018, eq. (3);
  Section 3.3 for the upper bound at the representation (MGDA-UB), here `tap=True`.
"""

import jax.numpy as jnp
import optax

from mtl.errors import InputError, unknown_name
from mtl.jacobian import Shared
from mtl.solvers import simplex_qp
from mtl.weightings.contract import (
    SolverState,
    as_float32,
    balance,
    check_losses,
    check_num_tasks,
    solver_state,
)

NORMALIZERS = ("none", "l2", "loss", "loss+")
CONVENTIONS = ("raw", "scaled")


def mgda(
    num_tasks: int | None = None,
    *,
    normalizer: str = "none",
    convention: str = "raw",
    tap: bool = False,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Moves along Jᵀa with a = argmin ‖Σ_t a_t g_t / N_t‖² over the simplex.

        N_t = 1 (none),  ‖g_t‖ (l2),  L_t (loss),  L_t ‖g_t‖ (loss+)

    If the minimum is not zero, the (scaled) direction decreases every loss. Tasks with a zero gradient
    take no part. Cost: T backward passes; with a tap T through the heads and one full.

    Args:
      num_tasks: T; needed inside `scan`, where the state's shape must not change.
      normalizer: N above.
      convention: `raw` applies a to the gradients as they are (Sener's code); `scaled` applies a / N, so
        that the direction is the minimiser itself (LibMTL). With T = 2, l2-raw is plain averaging.
      tap: read the gradients at the tap of `task_jacobian` (MGDA-UB).
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`. `state.residual` is the optimality gap of the QP
      that was solved. `update` needs `losses=` for the normalisers `loss` and `loss+`.

    Raises:
      InputError: an argument is not one of those named.

    Departures from the paper: the QP is solved exactly on the Gramian instead of by Frank–Wolfe, and the
    ends of the two-task formula are 0 and 1, not the reference code's .001 and .999.
    """
    check_num_tasks(num_tasks, required=False)
    if normalizer not in NORMALIZERS:
        raise unknown_name("MGDA normalizer", normalizer, NORMALIZERS)
    if convention not in CONVENTIONS:
        raise unknown_name("MGDA convention", convention, CONVENTIONS)
    by_loss = normalizer in ("loss", "loss+")
    by_norm = normalizer in ("l2", "loss+")

    def init_fn(params):
        del params
        return solver_state(num_tasks)

    def update_fn(updates, state, params=None, *, losses=None, **extra):
        del params, extra, state

        def solve(gramian):
            size = len(gramian)
            scale = jnp.ones(size, gramian.dtype)
            if by_norm:
                scale = scale * jnp.sqrt(jnp.diagonal(gramian))
            if by_loss:
                if losses is None:
                    raise InputError(f"mgda with normalizer {normalizer!r} needs losses= in update")
                scale = scale * jnp.abs(check_losses(losses, size)).astype(gramian.dtype)
            inverse = jnp.where(scale == 0, 0.0, 1.0 / jnp.where(scale == 0, 1.0, scale))
            scaled = gramian * inverse[:, None] * inverse[None, :]
            solution = simplex_qp(scaled)
            if convention == "raw":
                return solution.weights, solution.residual
            return solution.weights * inverse, solution.residual

        update, solution = balance(updates, solve, shared, num_tasks=num_tasks, tap=tap)
        return update, SolverState(*as_float32(solution))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
