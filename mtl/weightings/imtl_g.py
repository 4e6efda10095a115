"""IMTL-G: the direction with equal projections on every unit gradient.

Reference:
  L. Liu et al., "Towards Impartial Multi-Task Learning", ICLR 2021, Section 3.1, eqs. (1)–(4).
"""

import jax.numpy as jnp
import optax

from mtl.errors import unknown_name
from mtl.jacobian import Shared
from mtl.solvers import cosine_normalise, pseudo_inverse
from mtl.weightings.contract import check_num_tasks, gramian_weighting

TOTALS = ("sum_abs", "abs_sum")


def imtl_g(
    num_tasks: int | None = None,
    *,
    total: str = "sum_abs",
    tap: bool = False,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Moves along Jᵀa with ⟨g_i, Jᵀa⟩ / ‖g_i‖ the same for all tasks.

        v = D⁻¹ C⁺ 1,    a = v / Σ|v|  (sum_abs)   or   a = v / |Σv|  (abs_sum)

    D = diag ‖g_i‖, C the cosines; G⁺d of the paper is D⁻¹C⁻¹1 where G is invertible. Both agree with the
    paper, a = v / Σv, up to a positive factor where Σv > 0; `abs_sum` exactly. Tasks with a zero gradient
    get weight 0. Cost: T backward passes; with a tap T through the heads and one full.

    Args:
      num_tasks: T; needed inside `scan`, where the state's shape must not change.
      total: what v is divided by. |Σv| can be near zero when v has both signs.
      tap: read the gradients at the tap of `task_jacobian`.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`. `state.residual` is max_i |(C C⁺ 1)_i − 1|: not zero
      where no direction has equal positive projections.

    Raises:
      InputError: an argument is not one of those named.

    Departures from the paper: Jᵀv is a descent direction for all tasks, since (Gv)_i = d_i > 0, so that
    dividing by a negative Σv turns descent into ascent on every task. With norms (1, 20, 20) and cosines
    c₁₂ = c₁₃ = .6, c₂₃ = .1 the paper's formula gives Ga = (−6.3, −126.7, −126.7). The sign is kept here.
    """
    check_num_tasks(num_tasks, required=False)
    if total not in TOTALS:
        raise unknown_name("IMTL-G total", total, TOTALS)

    def solve(gramian):
        cosine, norms, live = cosine_normalise(gramian)
        finite = jnp.all(jnp.isfinite(gramian))
        cosine = jnp.where(finite, cosine, jnp.eye(len(gramian), dtype=cosine.dtype))
        beta = pseudo_inverse(cosine) @ live.astype(cosine.dtype)
        residual = jnp.max(jnp.where(live, jnp.abs(cosine @ beta - 1.0), 0.0))
        # In units of the smallest gradient, so that 1/d cannot overflow.
        lowest = jnp.min(jnp.where(live, norms, jnp.inf))
        v = jnp.where(live, beta * jnp.where(live, lowest / jnp.where(live, norms, 1.0), 0.0), 0.0)
        size = jnp.sum(jnp.abs(v)) if total == "sum_abs" else jnp.abs(jnp.sum(v))
        weights = v / jnp.where(size > 0, size, 1.0)
        return jnp.where(finite, weights, jnp.nan), jnp.where(finite, residual, jnp.nan)

    return gramian_weighting(solve, num_tasks, shared=shared, tap=tap)
