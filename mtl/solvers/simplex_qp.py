"""Exact solver for the simplex QP of MGDA, with lower bounds, on the Gramian alone.

    minimise  ½ aᵀGa    subject to  a ≥ c,  Σ a = 1

Method: Wolfe's nearest-point algorithm, an active-set method whose every iterate is feasible and which
ends at the optimum after finitely many exact solves on the support. It runs on the cosine matrix
C = D⁻¹GD⁻¹ in the variables β = D(a − c), D = diag(√G_ii), where scales of the tasks play no role:

    minimise  ½ βᵀCβ + qᵀβ    subject to  β ≥ 0,  hᵀβ = 1,     h = d_min / d ∈ (0, 1]

References:
  P. Wolfe, "Finding the nearest point in a polytope", Mathematical Programming 11, 1976.
  O. Sener and V. Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018, eq. (3).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl.types import Array


class QPSolution(NamedTuple):
    """A point of the simplex and its certificate.

    Attributes:
      weights: a `[T]`, a ≥ c and Σ a = 1 up to rounding.
      residual: scale-free violation of the optimality conditions `[]`, see `kkt_residual`.
    """

    weights: Array
    residual: Array


class _Iterate(NamedTuple):
    beta: Array  # [T] feasible point
    support: Array  # [T] bool, the corral
    best: Array  # [T] the point with the smallest gap so far
    best_gap: Array  # []
    lowest: Array  # [] the smallest objective so far
    stalled: Array  # [] corrals in a row that improved neither gap nor objective
    steps: Array  # []
    done: Array  # [] bool


def simplex_qp(gramian: Array, floors: Array | None = None) -> QPSolution:
    """Solves min ½ aᵀGa over {a ≥ c, Σa = 1} to rounding, with a certificate.

    Tasks whose gradient is exactly zero take no part: they get their floor, or 0. (Their sample space
    was empty in this batch; giving them all the weight, as the bare QP would, stops training.) If all
    gradients are zero the free mass is spread evenly. A non-finite Gramian gives NaN weights and a NaN
    residual. Works under `jit`, `vmap` and `scan`, without host callbacks, for T up to 64.

    Args:
      gramian: G `[T, T]`, symmetric positive semi-definite, float32 or float64, at any scale.
      floors: c `[T]`, c ≥ 0 and Σc ≤ 1; None for zeros.

    Returns:
      Weights and residual: at most 1e-5 in float32 and 1e-10 in float64 on well-posed and on singular
      problems alike.
    """
    num_tasks = gramian.shape[-1]
    dtype = jnp.promote_types(gramian.dtype, jnp.float32)
    gramian = gramian.astype(dtype)
    floors = jnp.zeros(num_tasks, dtype) if floors is None else floors.astype(dtype)
    scaled = scale_free(gramian, floors)
    beta = wolfe(scaled.cosine, scaled.h, scaled.q, scaled.live)
    free = scaled.h * beta
    none_live = ~jnp.any(scaled.live)
    free = jnp.where(none_live, 1.0 / num_tasks, free / jnp.where(none_live, 1.0, jnp.sum(free)))
    weights = floors + scaled.mass * free
    weights = jnp.where(jnp.all(jnp.isfinite(gramian)), weights, jnp.nan)
    return QPSolution(weights, kkt_residual(gramian, weights, floors))


class ScaleFreeQP(NamedTuple):
    """The QP in variables where the tasks' scales play no role; made by `scale_free`.

    With a = c + mass·b, b on the simplex, and β = D b / d_min:  min ½ βᵀCβ + qᵀβ,  β ≥ 0,  hᵀβ = 1.

    Attributes:
      cosine: C `[T, T]`.
      h: d_min / d `[T]`, in (0, 1]; 0 for zero gradients. Then b = h ⊙ β.
      q: C D c / (mass · d_min) `[T]`; 0 without free mass.
      live: which gradients are not zero `[T]` bool.
      mass: 1 − Σc `[]`.
    """

    cosine: Array
    h: Array
    q: Array
    live: Array
    mass: Array


def scale_free(gramian: Array, floors: Array) -> ScaleFreeQP:
    """Rescales min ½ aᵀGa over {a ≥ c, Σa = 1} to cosines.

    Args:
      gramian: G `[T, T]`.
      floors: c `[T]`.

    Returns:
      The rescaled problem.
    """
    mass = jnp.maximum(1.0 - jnp.sum(floors), 0.0)
    cosine, norms, live = cosine_normalise(gramian)
    lowest = jnp.min(jnp.where(live, norms, jnp.inf))
    lowest = jnp.where(jnp.isfinite(lowest), lowest, 1.0)
    h = jnp.where(live, lowest / jnp.where(live, norms, 1.0), 0.0)
    pull = cosine @ (norms * floors) / lowest
    q = jnp.where(mass > 0, pull / jnp.where(mass > 0, mass, 1.0), 0.0)
    return ScaleFreeQP(cosine, h, q, live, mass)


def cosine_normalise(gramian: Array) -> tuple[Array, Array, Array]:
    """Splits a Gramian into cosines and norms, G = D C D.

    Args:
      gramian: G `[T, T]`.

    Returns:
      C `[T, T]` with a unit diagonal (zero rows and columns for zero gradients), the norms `[T]`, and
      which gradients are not zero `[T]` bool.
    """
    norms = jnp.sqrt(jnp.maximum(jnp.diagonal(gramian), 0.0))
    live = norms > 0
    safe = jnp.where(live, norms, 1.0)
    cosine = gramian / safe[:, None] / safe[None, :]
    cosine = 0.5 * (cosine + cosine.T)
    both = live[:, None] & live[None, :]
    eye = jnp.eye(gramian.shape[-1], dtype=bool)
    return jnp.where(both, jnp.where(eye, 1.0, cosine), 0.0), norms, live


def kkt_residual(gramian: Array, weights: Array, floors: Array | None = None) -> Array:
    """Scale-free violation of the optimality conditions of the simplex QP.

    With μ_i = (Ga)_i and v = Σ(a−c)_i μ_i / Σ(a−c)_i, optimality is μ_i ≥ v, with equality where
    a_i > c_i. Each condition is measured as a cosine, against ‖g_i‖ Σ_j a_j‖g_j‖:

        r = max_i [ (v − μ_i)₊ ,  (μ_i − v)₊ · (a_i − c_i)d_i / max_j (a_j − c_j)d_j ] / (d_i Σ_j a_j d_j)

    so a common factor of all gradients, or of one gradient against the others, leaves it unchanged. The
    second term weighs by how much of the point rests on the task. Infeasibility, max |Σa − 1|, (c − a)₊,
    is added. Tasks with a zero gradient are left out.

    Args:
      gramian: G `[T, T]`.
      weights: a `[T]`.
      floors: c `[T]`; None for zeros.

    Returns:
      r `[]` ≥ 0; NaN when the Gramian or the weights are not finite.
    """
    floors = jnp.zeros_like(weights) if floors is None else floors
    cosine, norms, live = cosine_normalise(gramian)
    top = jnp.max(norms)
    norms = norms / jnp.where(top > 0, top, 1.0)
    beta = weights * norms
    free = jnp.where(live, weights - floors, 0.0)
    mass = jnp.sum(free)
    slope = cosine @ beta  # μ_i / d_i, in units of the largest norm
    level = jnp.sum(free * norms * slope) / jnp.where(mass > 0, mass, 1.0)
    safe = jnp.where(live, norms, 1.0)
    below = jnp.where(live, level / safe - slope, 0.0)
    held = jnp.where(live, free * norms, 0.0)
    share = held / jnp.maximum(jnp.max(held), jnp.finfo(held.dtype).tiny)
    violation = jnp.max(jnp.maximum(below, -below * share))
    size = jnp.sum(jnp.abs(beta))
    optimality = jnp.where(mass > 0, violation / jnp.where(size > 0, size, 1.0), 0.0)
    feasibility = jnp.maximum(jnp.abs(jnp.sum(weights) - 1.0), jnp.max(jnp.maximum(floors - weights, 0.0)))
    finite = jnp.all(jnp.isfinite(gramian)) & jnp.all(jnp.isfinite(weights))
    return jnp.where(finite, jnp.maximum(optimality, feasibility), jnp.nan)


def affine_minimiser(cosine: Array, h: Array, q: Array, support: Array) -> Array:
    """Minimises ½ βᵀCβ + qᵀβ over hᵀβ = 1 with β supported on `support`, sign unconstrained.

    Adding hhᵀ to C changes nothing on the plane hᵀβ = 1 and makes the matrix regular whenever the
    supported points are affinely independent; a ridge of a few ulps decides among equals otherwise.

    Args:
      cosine: C `[T, T]`.
      h: positive plane coefficients `[T]`.
      q: linear term `[T]`.
      support: bool `[T]`.

    Returns:
      β `[T]`, zero outside the support.
    """
    ridge = 8 * jnp.finfo(cosine.dtype).eps
    both = support[:, None] & support[None, :]
    eye = jnp.eye(cosine.shape[-1], dtype=cosine.dtype)
    matrix = jnp.where(both, cosine + h[:, None] * h[None, :] + ridge * eye, eye)
    rhs = jnp.where(support[:, None], jnp.stack([h, q], axis=1), 0.0)
    solved = jnp.linalg.solve(matrix, rhs)
    along, pull = solved[:, 0], solved[:, 1]
    beta = (1.0 + h @ pull) / (h @ along) * along - pull
    # Where q dwarfs β the difference has lost the plane; the way back is along M⁻¹h.
    return beta + (1.0 - h @ beta) / (h @ along) * along


def walk_to_boundary(point: Array, target: Array, support: Array) -> tuple[Array, Array]:
    """Walks from a positive point towards a target until the first coordinate is zero.

    Args:
      point: `[T]`, positive on the support.
      target: `[T]`.
      support: bool `[T]`.

    Returns:
      The point reached `[T]`, and the support without the coordinates that became zero.
    """
    falling = support & (target <= 0)
    drop = jnp.where(falling, point - target, 1.0)
    room = jnp.where(falling, point / jnp.where(drop > 0, drop, 1.0), jnp.inf)
    kept = support & ~(falling & (room <= jnp.min(room)))
    theta = jnp.minimum(jnp.min(room), 1.0)
    return jnp.where(kept, point + theta * (target - point), 0.0), kept


def wolfe(cosine: Array, h: Array, q: Array, live: Array) -> Array:
    """Minimises ½ βᵀCβ + qᵀβ over {β ≥ 0, hᵀβ = 1}.

    Args:
      cosine: C `[T, T]`.
      h: plane coefficients `[T]`, positive for live tasks.
      q: linear term `[T]`.
      live: which gradients are not zero `[T]` bool; the others keep β = 0.

    Returns:
      β `[T]`.
    """
    num_tasks = cosine.shape[-1]
    eps = jnp.finfo(cosine.dtype).eps
    inverse = jnp.where(live, 1.0 / jnp.where(live, h, 1.0), 0.0)
    # The best vertex e_i / h_i to start from.
    value = jnp.where(live, 0.5 * inverse**2 + q * inverse, jnp.inf)
    first = jnp.arange(num_tasks) == jnp.argmin(value)
    start = _Iterate(
        beta=jnp.where(first, inverse, 0.0),
        support=first & live,
        best=jnp.where(first, inverse, 0.0),
        best_gap=jnp.asarray(jnp.inf, cosine.dtype),
        lowest=jnp.asarray(jnp.inf, cosine.dtype),
        stalled=jnp.zeros((), jnp.int32),
        steps=jnp.zeros((), jnp.int32),
        done=~jnp.any(live) | ~jnp.all(jnp.isfinite(cosine)),
    )

    def step(it: _Iterate) -> _Iterate:
        target = affine_minimiser(cosine, h, q, it.support)
        inside = jnp.all(jnp.where(it.support, target > 0, True))
        # Inside: take the minimiser of the corral and let the most violated task in.
        slope = cosine @ target + q
        excess = slope - (target @ slope) * h
        gap = -jnp.min(jnp.where(live, excess, jnp.inf)) / jnp.sum(jnp.abs(target))
        entering = jnp.arange(num_tasks) == jnp.argmin(jnp.where(live & ~it.support, excess, jnp.inf))
        better = inside & (gap < it.best_gap)
        objective = 0.5 * (target @ (slope + q))
        lower = inside & (objective < it.lowest)
        stalled = jnp.where(inside, jnp.where(better | lower, 0, it.stalled + 1), it.stalled)
        optimal = inside & ((gap <= 2 * eps) | (stalled > 2) | jnp.all(it.support | ~live))
        # Outside: walk towards it until the first coordinate is zero, which leaves the corral.
        walked, left = walk_to_boundary(it.beta, target, it.support)
        return _Iterate(
            beta=jnp.where(inside, target, walked),
            support=jnp.where(inside, it.support | (entering & ~optimal), left),
            best=jnp.where(better, target, it.best),
            best_gap=jnp.where(better, gap, it.best_gap),
            lowest=jnp.where(lower, objective, it.lowest),
            stalled=stalled,
            steps=it.steps + 1,
            done=optimal | (it.steps >= 8 * num_tasks + 16),
        )

    return jax.lax.while_loop(lambda it: ~it.done, step, start).best
