"""Exact solver for the cone QP of UPGrad and DualProj, on the Gramian alone.

    minimise  ½ vᵀGv    subject to  v ≥ u,     u ≥ 0

Jᵀv is the projection of Jᵀu on the cone of directions that no task opposes, {x : Jx ≥ 0}. Method: the
active set of Lawson and Hanson on x = D(v − u) ≥ 0 with the cosine matrix C = D⁻¹GD⁻¹, so that scales of
the tasks play no role:

    minimise  ½ xᵀCx + (Cℓ)ᵀx    subject to  x ≥ 0,     ℓ = Du

References:
  P. Quinton and V. Rey, "Jacobian Descent for Multi-Objective Optimization", arXiv 2406.16232, Proposition 1.
  C. L. Lawson and R. J. Hanson, "Solving Least Squares Problems", 1974, chapter 23 (NNLS).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl.solvers.simplex_qp import QPSolution, cosine_normalise, walk_to_boundary
from mtl.types import Array


class _Iterate(NamedTuple):
    x: Array  # [T] feasible point
    passive: Array  # [T] bool, the coordinates that may be positive
    best: Array  # [T] the point with the smallest gap so far
    best_gap: Array  # []
    lowest: Array  # [] the smallest objective so far
    stalled: Array  # [] passive sets in a row that improved neither gap nor objective
    steps: Array  # []
    done: Array  # [] bool


def cone_qp(gramian: Array, lower: Array) -> QPSolution:
    """Solves min ½ vᵀGv over {v ≥ u} to rounding, with a certificate.

    Where several v give the same direction Jᵀv (linearly dependent gradients), one of small norm is
    returned. A task with a zero gradient keeps v_i = u_i. A non-finite Gramian gives NaN. Works under
    `jit`, `vmap` and `scan`, for T up to 64.

    Args:
      gramian: G `[T, T]`, symmetric positive semi-definite, at any scale.
      lower: u `[T]`, u ≥ 0.

    Returns:
      v `[T]` and the residual, see `cone_residual`.
    """
    dtype = jnp.promote_types(gramian.dtype, jnp.float32)
    gramian, lower = gramian.astype(dtype), lower.astype(dtype)
    cosine, norms, live = cosine_normalise(gramian)
    weights, residual = cone_qp_on_cosines(cosine, _unit(norms), live, lower)
    finite = jnp.all(jnp.isfinite(gramian))
    return QPSolution(jnp.where(finite, weights, jnp.nan), jnp.where(finite, residual, jnp.nan))


def cone_qp_on_cosines(cosine: Array, norms: Array, live: Array, lower: Array) -> QPSolution:
    """`cone_qp` for a Gramian that is split into cosines and norms already.

    Args:
      cosine: C `[T, T]`.
      norms: d `[T]`, in any unit.
      live: which gradients are not zero `[T]` bool.
      lower: u `[T]`.

    Returns:
      As `cone_qp`.
    """
    bound = norms * lower
    size = jnp.max(bound)
    unit = jnp.where(size > 0, size, 1.0)
    x = _active_set(cosine, bound / unit, live)
    safe = jnp.where(live, norms, 1.0)
    weights = lower + jnp.where(live, x * unit / safe, 0.0)
    return QPSolution(weights, _gap(cosine, x, bound / unit, live))


def cone_residual(gramian: Array, weights: Array, lower: Array) -> Array:
    """Scale-free violation of the optimality conditions v ≥ u, Gv ≥ 0, (v − u)ᵀGv = 0.

    With β = Dv and ℓ = Du, each condition is measured as a cosine, against Σ_j |β_j|:

        r = max_i [ (−(Cβ)_i)₊ ,  (Cβ)_i₊ · (β_i − ℓ_i) / max_j β_j ,  (ℓ_i − β_i)₊ ] / Σ_j |β_j|

    Args:
      gramian: G `[T, T]`.
      weights: v `[T]`.
      lower: u `[T]`.

    Returns:
      r `[]` ≥ 0; NaN when the Gramian or the weights are not finite.
    """
    cosine, norms, live = cosine_normalise(gramian)
    norms = _unit(norms)
    r = _gap(cosine, (weights - lower) * norms, lower * norms, live)
    finite = jnp.all(jnp.isfinite(gramian)) & jnp.all(jnp.isfinite(weights))
    return jnp.where(finite, r, jnp.nan)


def _unit(norms: Array) -> Array:
    top = jnp.max(norms)
    return norms / jnp.where(top > 0, top, 1.0)


def _gap(cosine: Array, x: Array, bound: Array, live: Array) -> Array:
    beta = x + bound
    slope = jnp.where(live, cosine @ beta, 0.0)
    top = jnp.max(beta)
    share = jnp.maximum(x, 0.0) / jnp.where(top > 0, top, 1.0)
    violation = jnp.max(jnp.maximum(jnp.maximum(-slope, slope * share), jnp.where(live, -x, 0.0)))
    size = jnp.sum(jnp.abs(beta))
    return jnp.where(size > 0, violation / jnp.where(size > 0, size, 1.0), 0.0)


def _active_set(cosine: Array, bound: Array, live: Array) -> Array:
    """Lawson and Hanson's algorithm for min ½ xᵀCx + (Cℓ)ᵀx over x ≥ 0."""
    num_tasks = cosine.shape[-1]
    eps = jnp.finfo(cosine.dtype).eps
    eye = jnp.eye(num_tasks, dtype=cosine.dtype)
    # A few ulps decide among equals where the passive gradients are linearly dependent.
    ridged = cosine + 8 * eps * eye
    pull = cosine @ bound
    index = jnp.arange(num_tasks)

    def minimiser(passive):
        both = passive[:, None] & passive[None, :]
        matrix = jnp.where(both, ridged, eye)
        return jnp.linalg.solve(matrix, jnp.where(passive, -pull, 0.0))

    # The tasks that u's direction opposes are nearly always those that end in the passive set.
    guess = live & (pull < 0)
    target = minimiser(guess)
    guess = guess & jnp.all(jnp.where(guess, target > 0, True))
    x = jnp.where(guess, target, 0.0)
    start = _Iterate(
        x=x,
        passive=guess,
        best=x,
        best_gap=jnp.asarray(jnp.inf, cosine.dtype),
        lowest=jnp.asarray(jnp.inf, cosine.dtype),
        stalled=jnp.zeros((), jnp.int32),
        steps=jnp.zeros((), jnp.int32),
        done=~jnp.any(live) | ~jnp.all(jnp.isfinite(cosine)),
    )

    def step(it: _Iterate) -> _Iterate:
        target = minimiser(it.passive)
        inside = jnp.all(jnp.where(it.passive, target > 0, True))
        gap = _gap(cosine, target, bound, live)
        slope = cosine @ target + pull
        entering = index == jnp.argmin(jnp.where(live & ~it.passive, slope, jnp.inf))
        better = inside & (gap < it.best_gap)
        objective = 0.5 * (target @ (slope + pull))
        lower = inside & (objective < it.lowest)
        stalled = jnp.where(inside, jnp.where(better | lower, 0, it.stalled + 1), it.stalled)
        optimal = inside & ((gap <= 2 * eps) | (stalled > 2) | jnp.all(it.passive | ~live))
        walked, left = walk_to_boundary(it.x, target, it.passive)
        return _Iterate(
            x=jnp.where(inside, target, walked),
            passive=jnp.where(inside, it.passive | (entering & ~optimal), left),
            best=jnp.where(better, target, it.best),
            best_gap=jnp.where(better, gap, it.best_gap),
            lowest=jnp.where(lower, objective, it.lowest),
            stalled=stalled,
            steps=it.steps + 1,
            done=optimal | (it.steps >= 8 * num_tasks + 16),
        )

    return jax.lax.while_loop(lambda it: ~it.done, step, start).best
