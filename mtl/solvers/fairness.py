"""Damped Newton for the bargaining equations of Nash-MTL and FairGrad, on the Gramian alone.

    Gα = α^(−1/s)  elementwise,  α > 0          s = 1: Nash-MTL;  s → 0: the mean;  s → ∞: max-min

It is the optimality condition of a convex problem, so neither the convex–concave procedure nor a conic
solver is needed. With β = Dα, D = diag(√G_ii), C = D⁻¹GD⁻¹ and κ_i = d_i^(1/s − 1):

    minimise  ½ βᵀCβ − Σ_i κ_i ψ(β_i),     ψ' = β^(−1/s)     ⇔     Cβ = κ β^(−1/s)

References:
  A. Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022, Claim 3.1 (Nash, s = 1).
  H. Ban and K. Ji, "Fair Resource Allocation in Multi-Task Learning", ICML 2024, eq. (8).
  S. Boyd and L. Vandenberghe, "Convex Optimization", 2004, Section 9.6 (damped Newton, self-concordance).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl.solvers.simplex_qp import QPSolution, cosine_normalise
from mtl.types import Array

RIDGE = {"float32": 1e-6, "float64": 1e-12}
"""Added to the diagonal of C until a solution is near; it caps ‖β‖ at about (T / ridge)^(s/(1+s))."""

NEAR = 0.2
"""Newton decrement below which the full step converges quadratically; the ridge goes then."""

MAX_STEPS = 60


class _Iterate(NamedTuple):
    beta: Array  # [T] positive
    best: Array  # [T] the last point with the ridge, or a later one with a smaller residual
    best_residual: Array  # [] of the problem without ridge
    ridge: Array  # []
    stalled: Array  # [] steps in a row that did not improve the residual without ridge, or were not finite
    steps: Array  # []


def fair_weights(
    gramian: Array, fairness: float | Array = 1.0, preference: Array | None = None
) -> QPSolution:
    """Solves (Gα)_i = (p_i / α_i)^(1/s) for α > 0, with a certificate.

    Where no solution exists (some convex combination of the gradients is zero: a Pareto-stationary point)
    the answer is that of the ridged cosine matrix, which is bounded, and the residual is large. Tasks with
    a zero gradient get weight 0; so do all when all gradients are zero. A non-finite Gramian gives NaN.
    Works under `jit`, `vmap` and `scan`, for T up to 64.

    Args:
      gramian: G `[T, T]`, symmetric positive semi-definite, at any scale.
      fairness: s > 0 `[]`.
      preference: p `[T]`, positive; None for ones.

    Returns:
      α `[T]` and the residual, see `fairness_residual`.
    """
    dtype = jnp.promote_types(gramian.dtype, jnp.float32)
    gramian = gramian.astype(dtype)
    cosine, norms, live = cosine_normalise(gramian)
    num_live = jnp.maximum(jnp.sum(live), 1)
    safe = jnp.where(live, norms, 1.0)
    # In units of the geometric mean of the norms: α is homogeneous of degree −2s/(1+s) in the gradients.
    unit = jnp.exp(jnp.sum(jnp.where(live, jnp.log(safe), 0.0)) / num_live)
    exponent = 1.0 / fairness
    kappa = jnp.where(live, (safe / unit) ** (exponent - 1.0), 1.0)
    if preference is not None:
        kappa = kappa * preference**exponent
    padded = cosine + jnp.diag(jnp.where(live, 0.0, 1.0).astype(dtype))
    beta = _newton(padded, kappa.astype(dtype), exponent)
    weights = beta / (safe / unit) * unit ** (-2.0 / (1.0 + exponent))
    ok = jnp.all(jnp.isfinite(gramian))
    weights = jnp.where(ok, jnp.where(live, weights, 0.0), jnp.nan)
    residual = jnp.max(jnp.where(live, _violation(padded, kappa, exponent, beta), 0.0))
    return QPSolution(weights, jnp.where(ok, residual, jnp.nan))


def fairness_residual(
    gramian: Array, weights: Array, fairness: float | Array = 1.0, preference: Array | None = None
) -> Array:
    """Largest relative violation of (Gα)_i = (p_i / α_i)^(1/s) over the tasks with a gradient.

        r = max_i | (α_i / p_i)^(1/s) (Gα)_i − 1 |

    Args:
      gramian: G `[T, T]`.
      weights: α `[T]`.
      fairness: s `[]`.
      preference: p `[T]`; None for ones.

    Returns:
      r `[]`; a common factor of all gradients, with the weights that follow from it, leaves it unchanged.
    """
    live = jnp.diagonal(gramian) > 0
    share = weights if preference is None else weights / preference
    value = jnp.abs(jnp.where(live, share, 1.0) ** (1.0 / fairness) * (gramian @ weights) - 1.0)
    return jnp.max(jnp.where(live, value, 0.0))


def _violation(cosine: Array, kappa: Array, exponent: float | Array, beta: Array) -> Array:
    return jnp.abs(beta**exponent / kappa * (cosine @ beta) - 1.0)


def _newton(cosine: Array, kappa: Array, exponent: float | Array) -> Array:
    """Minimises the potential; the ridge is on until its minimum is near, then off as long as that helps."""
    dtype = cosine.dtype
    trials = 0.5 ** jnp.arange(8, dtype=dtype)

    def potential(beta, ridge):
        quadratic = 0.5 * jnp.sum(beta * (beta @ cosine), axis=-1) + 0.5 * ridge * jnp.sum(beta**2, axis=-1)
        if isinstance(exponent, jax.Array):  # a logarithm or a power, which is known only when it runs
            is_log = exponent == 1.0
            rest = jnp.where(is_log, 1.0, 1.0 - exponent)
            psi = jnp.where(is_log, jnp.log(beta), beta**rest / rest)
            return quadratic - jnp.sum(kappa * psi, axis=-1)
        if exponent == 1.0:
            return quadratic - jnp.sum(kappa * jnp.log(beta), axis=-1)
        return quadratic - jnp.sum(kappa * beta ** (1.0 - exponent), axis=-1) / (1.0 - exponent)

    def step(it: _Iterate) -> _Iterate:
        pull = kappa * it.beta**-exponent
        slope = cosine @ it.beta + it.ridge * it.beta - pull
        hessian = cosine + jnp.diag(it.ridge + exponent * pull / it.beta)
        direction = -jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(hessian), slope)
        # In units in which the potential is standard self-concordant: ψ''' against ψ''^(3/2).
        bend = 0.5 * (1.0 + exponent) / jnp.sqrt(exponent * jnp.min(pull * it.beta))
        decrement = bend * jnp.sqrt(jnp.maximum(-(slope @ direction), 0.0))
        # Stay positive, then the best of a few step lengths; near the minimum the full step.
        longest = jnp.min(
            jnp.where(direction < 0, -0.9 * it.beta / jnp.where(direction < 0, direction, -1.0), jnp.inf)
        )
        lengths = jnp.minimum(longest, 1.0) * trials
        points = it.beta + lengths[:, None] * direction
        values = potential(points, it.ridge)
        values = jnp.where(jnp.isfinite(values), values, jnp.inf)
        # The longest of those that rounding cannot tell from the lowest.
        lowest = jnp.min(values)
        low = values <= lowest + 8 * jnp.finfo(dtype).eps * jnp.abs(lowest)
        chosen = jnp.where(decrement < NEAR, 0, jnp.argmax(low))
        beta = points[chosen]
        residual = jnp.max(_violation(cosine, kappa, exponent, beta))
        ridged = it.ridge > 0
        # Not finite: the solution spans more orders of magnitude than the dtype has.
        better = jnp.isfinite(residual) & (ridged | (residual < 0.9 * it.best_residual))
        return _Iterate(
            beta=beta,
            best=jnp.where(better, beta, it.best),
            best_residual=jnp.where(better, residual, it.best_residual),
            ridge=jnp.where(decrement < NEAR, 0.0, it.ridge),
            stalled=jnp.where(better, 0, it.stalled + 1),
            steps=it.steps + 1,
        )

    def unfinished(it: _Iterate) -> Array:
        exact = (it.best_residual <= 4 * jnp.finfo(dtype).eps) & (it.ridge == 0)
        return ~exact & (it.stalled < 2) & (it.steps < MAX_STEPS)

    # The point of the ray β ∝ κ^(1/(1+e)), which is the solution for orthogonal gradients, where φ is least.
    ray = kappa ** (1.0 / (1.0 + exponent))
    ridge = jnp.asarray(RIDGE[str(dtype)], dtype)
    bend = jnp.maximum(ray @ cosine @ ray, ridge * ray @ ray)
    start = ray * (jnp.sum(kappa * ray ** (1.0 - exponent)) / bend) ** (1.0 / (1.0 + exponent))
    first = _Iterate(start, start, jnp.asarray(jnp.inf, dtype), ridge, jnp.int32(0), jnp.int32(0))
    return jax.lax.while_loop(unfinished, step, first).best
