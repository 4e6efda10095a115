"""ConFIG: conflict-free inverse gradients.

Reference:
  Q. Liu, M. Chu and N. Thuerey, "ConFIG: Towards Conflict-free Training of Physics Informed Neural
  Networks", ICLR 2025, eqs. (2)–(3).
"""

import jax.numpy as jnp
import optax

from mtl.jacobian import Shared
from mtl.solvers import cosine_normalise, pseudo_inverse
from mtl.weightings.contract import check_num_tasks, gramian_weighting


def config(
    num_tasks: int | None = None, *, tap: bool = False, shared: Shared = None
) -> optax.GradientTransformationExtraArgs:
    """Moves along the direction of equal cosines, as far as the gradients project on it together.

        v = C⁺1,   q = √(vᵀCv),   ℓ = Σ_i d_i (Cv)_i / q,   a_i = ℓ v_i / (d_i q)

    ℓ is the sum of the projections of all gradients on the unit direction. Collinear with IMTL-G where G is
    invertible, and always with a safe sign. Tasks with a zero gradient get weight 0. Cost: T backward
    passes; with a tap T through the heads and one full.

    Args:
      num_tasks: T; needed inside `scan`, where the state's shape must not change.
      tap: read the gradients at the tap of `task_jacobian`.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`. `state.residual` is max_i |(C C⁺ 1)_i − 1|: not zero
      where no direction has equal positive cosines.

    Raises:
      InputError: `num_tasks` is out of range.
    """
    check_num_tasks(num_tasks, required=False)

    def solve(gramian):
        cosine, norms, live = cosine_normalise(gramian)
        finite = jnp.all(jnp.isfinite(gramian))
        cosine = jnp.where(finite, cosine, jnp.eye(len(gramian), dtype=cosine.dtype))
        v = pseudo_inverse(cosine) @ live.astype(cosine.dtype)
        slope = cosine @ v
        residual = jnp.max(jnp.where(live, jnp.abs(slope - 1.0), 0.0))
        square = jnp.maximum(v @ slope, 0.0)
        length = jnp.sum(norms * slope) / jnp.where(square > 0, square, 1.0)
        weights = jnp.where(live, v * (length / jnp.where(live, norms, 1.0)), 0.0)
        return jnp.where(finite, weights, jnp.nan), jnp.where(finite, residual, jnp.nan)

    return gramian_weighting(solve, num_tasks, shared=shared, tap=tap)
