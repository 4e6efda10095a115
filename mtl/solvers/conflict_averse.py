"""Exact solver for the dual problem of CAGrad, on the Gramian alone.

    minimise  bᵀw + κ √(wᵀGw)    over the simplex,     b = G1/T,  κ = c ‖g₀‖,  g₀ the mean gradient

√(wᵀGw) = min_t ½ (wᵀGw / t + t), so for a given ρ = t/κ the minimiser is that of the simplex QP
½ wᵀGw + ρ bᵀw, and the right ρ is the root of ‖Jᵀw(ρ)‖ / κ − ρ, which changes sign once. On a given support
the root has a closed form; Wolfe's algorithm finds the support, and bisection guards the steps.

Reference:
  B. Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021, eq. (4) and
  Algorithm 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl.solvers.cone_qp import cone_qp_on_cosines
from mtl.solvers.simplex_qp import QPSolution, cosine_normalise, wolfe
from mtl.types import Array


class _Iterate(NamedTuple):
    ratio: Array  # [] ρ to try
    low: Array  # [] ρ known to be below the root
    high: Array  # [] ρ known to be above it
    beta: Array  # [T] minimiser for the last ρ
    used: Array  # [] the ρ it belongs to
    steps: Array  # []
    done: Array  # [] bool


def conflict_averse(gramian: Array, radius: float | Array) -> QPSolution:
    """Finds the direction in a ball about the mean gradient whose worst task falls fastest.

        max_x min_i ⟨g_i, x⟩   subject to   ‖x − g₀‖ ≤ c ‖g₀‖;     x = Jᵀa,  a = 1/T + κ w / ‖Jᵀw‖

    Tasks with a zero gradient get weight 1/T. Where Jᵀw vanishes to the precision of G (a Pareto-stationary
    point) no direction improves all tasks and every x of the ball with Jx ≥ 0 is optimal: x is then the
    projection of g₀ on that cone, the nearest of them, if the ball holds it. ‖Jᵀw‖ is taken to be at least
    √ε Σ w_i d_i, which bounds the weights. Works under `jit`, `vmap` and `scan`, for T up to 64.

    Args:
      gramian: G `[T, T]`, symmetric positive semi-definite, at any scale.
      radius: c ≥ 0 `[]`; 0 gives the mean.

    Returns:
      a `[T]` and the residual: the largest violation of the optimality conditions
      (Ga)_i ≥ v, with equality where w_i > 0, measured against d_i (1 + c) ‖g₀‖.
    """
    dtype = jnp.promote_types(gramian.dtype, jnp.float32)
    gramian = gramian.astype(dtype)
    num_tasks = gramian.shape[-1]
    eps = jnp.finfo(dtype).eps
    cosine, norms, live = cosine_normalise(gramian)
    # In units of the smallest gradient, as in `scale_free`: w = h ⊙ β.
    lowest = jnp.min(jnp.where(live, norms, jnp.inf))
    lowest = jnp.where(jnp.isfinite(lowest), lowest, 1.0)
    scaled = norms / lowest
    h = jnp.where(live, 1.0 / jnp.where(live, scaled, 1.0), 0.0)
    r = jnp.where(live, cosine @ scaled, 0.0) / num_tasks
    mean_norm = jnp.sqrt(jnp.maximum(scaled @ r / num_tasks, 0.0))
    kappa = radius * mean_norm
    usable = jnp.any(live) & (kappa > 0) & jnp.all(jnp.isfinite(gramian))

    def norm(beta):
        return jnp.sqrt(jnp.maximum(beta @ cosine @ beta, 0.0))

    def step(it: _Iterate) -> _Iterate:
        beta = wolfe(cosine, h, it.ratio * r, live)
        found = norm(beta) / kappa
        low = jnp.where(found >= it.ratio, it.ratio, it.low)
        high = jnp.where(found >= it.ratio, it.high, it.ratio)
        root = _root_on_support(cosine, h, r, beta > 0, kappa)
        inside = (root > low) & (root < high)
        halved = jnp.where(low > 0, jnp.sqrt(low * high), high / 64)
        ratio = jnp.where(inside, root, halved)
        found_it = jnp.minimum(jnp.abs(root - it.ratio), jnp.abs(found - it.ratio)) <= 4 * eps * it.ratio
        done = found_it | (high - low <= 4 * eps * high) | (it.steps >= 60)
        return _Iterate(ratio, low, high, beta, it.ratio, it.steps + 1, done)

    highest = jnp.max(jnp.where(live, scaled, 0.0)) / jnp.where(usable, kappa, 1.0)
    zero = jnp.zeros((), dtype)
    at_least = jnp.maximum(radius, 1e-3) if isinstance(radius, jax.Array) else max(radius, 1e-3)
    start = _Iterate(
        ratio=jnp.minimum(jnp.asarray(1.0 / at_least, dtype), highest),
        low=zero,
        high=highest,
        beta=jnp.zeros(num_tasks, dtype),
        used=jnp.ones((), dtype),
        steps=jnp.zeros((), jnp.int32),
        done=~usable,
    )
    end = jax.lax.while_loop(lambda it: ~it.done, step, start)

    def violation(pull):
        slope = r + jnp.where(live, cosine @ pull, 0.0)
        below = jnp.where(live, (end.beta @ slope) * h - slope, 0.0)
        share = end.beta / jnp.maximum(jnp.max(end.beta), jnp.finfo(dtype).tiny)
        size = jnp.where(usable, (1 + radius) * mean_norm, 1.0)
        return jnp.max(jnp.maximum(below, -below * share)) / size

    # ‖Jᵀw‖ relative to Σ w_i d_i, of which float arithmetic cannot tell √ε from nothing.
    shortest = jnp.sqrt(eps) * jnp.sum(end.beta) / jnp.where(usable, kappa, 1.0)
    pull = jnp.where(usable, end.beta / jnp.maximum(end.used, shortest), 0.0)
    near = usable & (end.used <= 64 * shortest)
    # Idle unless `near`, so this costs one small solve; and it starts when the loop above has ended.
    lower = jnp.full(num_tasks, 1.0 / num_tasks, dtype)
    projected = cone_qp_on_cosines(cosine, scaled, live & near, lower).weights
    to_cone = jnp.where(near & live, scaled * (projected - lower), 0.0)
    to_cone = to_cone * jnp.minimum(1.0, kappa / jnp.maximum(norm(to_cone), jnp.finfo(dtype).tiny))
    pull = jnp.where(near & (violation(to_cone) < violation(pull)), to_cone, pull)
    weights = 1.0 / num_tasks + h * pull
    residual = jnp.where(usable, violation(pull), 0.0)
    finite = jnp.all(jnp.isfinite(gramian))
    return QPSolution(jnp.where(finite, weights, jnp.nan), jnp.where(finite, residual, jnp.nan))


def _root_on_support(cosine: Array, h: Array, r: Array, support: Array, kappa: Array) -> Array:
    """The ρ at which ‖Jᵀw(ρ)‖ = κρ if w(ρ) keeps its support; NaN if there is none.

    With M = C + hhᵀ on the support (which changes nothing on the plane hᵀβ = 1), A = hᵀM⁻¹h, B = hᵀM⁻¹r
    and E = rᵀM⁻¹r:   ρ² = (1/A − 1) / (κ² + B²/A − E).
    """
    eye = jnp.eye(cosine.shape[-1], dtype=cosine.dtype)
    both = support[:, None] & support[None, :]
    ridge = 8 * jnp.finfo(cosine.dtype).eps
    matrix = jnp.where(both, cosine + h[:, None] * h[None, :] + ridge * eye, eye)
    rhs = jnp.where(support[:, None], jnp.stack([h, r], axis=1), 0.0)
    solved = jnp.linalg.solve(matrix, rhs)
    a, b, e = rhs[:, 0] @ solved[:, 0], rhs[:, 0] @ solved[:, 1], rhs[:, 1] @ solved[:, 1]
    square = (1.0 / a - 1.0) / (kappa**2 + b**2 / a - e)
    return jnp.sqrt(jnp.where(square > 0, square, jnp.nan))
