"""UPGrad: every gradient projected on the cone of directions that no task opposes, then combined.

Reference:
  P. Quinton and V. Rey, "Jacobian Descent for Multi-Objective Optimization", arXiv 2406.16232, eq. (5) and
  Proposition 1.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared
from mtl.solvers import cone_qp_on_cosines, cosine_normalise
from mtl.weightings.contract import gramian_weighting, infer_num_tasks, known_false, per_task


def upgrad(
    num_tasks: int | None = None,
    *,
    preference: float | Sequence[float] | None = None,
    tap: bool = False,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Moves along Σ_i Jᵀv⁽ⁱ⁾ where Jᵀv⁽ⁱ⁾ is the projection of p_i g_i on {x : Jx ≥ 0}.

        v⁽ⁱ⁾ = argmin ½ vᵀGv  s.t.  v ≥ p_i e_i,     a = Σ_i v⁽ⁱ⁾

    Non-conflicting: Ga ≥ 0. Linear under scaling of a gradient where the active sets stay. With T = 2 and
    p = 1 it equals PCGrad-sum. Tasks with a zero gradient keep p_i. Cost: T backward passes; with a tap T
    through the heads and one full. The T problems are solved together.

    Args:
      num_tasks: T; needed inside `scan` unless `preference` tells it.
      preference: p > 0, one number or T; None for 1/T, as in the paper.
      tap: read the gradients at the tap of `task_jacobian`.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`. `state.residual` is the largest optimality gap of the
      T problems, see `mtl.solvers.cone_residual`.

    Raises:
      InputError: an argument is out of range.

    Departures from the paper's code: no ridge of 1e-4 and no absolute threshold on the trace of G; the QP is
    solved to rounding on the cosines.
    """
    num_tasks = infer_num_tasks(num_tasks, preference)

    def preferred(size):
        return positive_preference(preference, size)

    preferred(num_tasks or 1)

    def solve(gramian):
        size = len(gramian)
        p = preferred(size).astype(gramian.dtype)
        cosine, norms, live = cosine_normalise(gramian)
        # Each problem in units of its own gradient: v⁽ⁱ⁾ = p_i d_i D⁻¹ β⁽ⁱ⁾ with β⁽ⁱ⁾ ≥ e_i.
        eye = jnp.eye(size, dtype=gramian.dtype)
        solutions = jax.vmap(lambda e: cone_qp_on_cosines(cosine, jnp.ones_like(p), live, e))(eye)
        beta = (p * norms) @ solutions.weights
        weights = jnp.where(live, beta / jnp.where(live, norms, 1.0), p)
        finite = jnp.all(jnp.isfinite(gramian))
        residual = jnp.max(jnp.where(live, solutions.residual, 0.0))
        return jnp.where(finite, weights, jnp.nan), jnp.where(finite, residual, jnp.nan)

    return gramian_weighting(solve, num_tasks, shared=shared, tap=tap)


def positive_preference(preference: float | Sequence[float] | None, num_tasks: int) -> jax.Array:
    """Returns p `[T]` float32, 1/T for None.

    Raises:
      InputError: a preference is not above 0, or lengths disagree.
    """
    p = per_task("preference", 1.0 / num_tasks if preference is None else preference, num_tasks)
    if known_false((p > 0).all()):
        raise InputError(f"preference is {preference!r}, expected numbers above 0")
    return jnp.asarray(p, jnp.float32)
