"""PCD: the direction nearest to one task's gradient that still gives every other task a share of progress.

Reference:
  D. Varam and M. I. AlHajri, "Not All Objectives Are Born Equal: Priority-Constrained Descent for
  Hierarchical Multi-Objective Optimization", TMLR 2026, arXiv 2606.29521, Definitions 4.1 and 4.5 and
  Algorithm 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared
from mtl.solvers import QPSolution, cone_qp, cosine_normalise
from mtl.types import Array
from mtl.weightings.contract import as_float32, balance, check_num_tasks, known_false, per_task


class PCDState(NamedTuple):
    """State of `pcd`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      residual: optimality gap of the QP `[]`, see `nearest_direction`; large where no direction gives every
        task its share.
      rms: √v̂, root of the running mean of ‖g_t‖² `[T]`; 0 until a task has had a gradient.
      batches: how many are in that mean, (1 − β^k) / (1 − β) after k of them `[T]`.
    """

    weights: Array
    residual: Array
    rms: Array
    batches: Array


def pcd(
    num_tasks: int,
    *,
    tau: float | Sequence[float] = 0.02,
    beta: float = 0.999,
    primary: int = 0,
    tap: bool = False,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Follows the primary task as closely as the shares τ of the others allow, at its gradient's length.

        d̃ = argmin_d ½‖d − g̃_p‖²   s.t.   ⟨g̃_j, d⟩ ≥ τ_j ‖g̃_j‖²  for j ≠ p,     x = ‖g_p‖ d̃ / ‖d̃‖
        g̃_t = g_t / √v̂_t,     v̂_t = running mean of ‖g_t‖², corrected for its start at 0

    So d̃ = g̃_p + Σ_j μ_j g̃_j with μ ≥ 0, and where g_p gives every task its share, x = g_p. With τ = 0 no
    task is opposed; with τ > 0 the primary one can be, where the others demand it. No direction may serve
    them all (T ≥ 3): then x = g_p, and the residual is large. Without a gradient of the primary task, and
    where d̃ = 0, the shared leaves rest. Cost: T backward passes; with a tap T through the heads and one full.

    Args:
      num_tasks: T.
      tau: τ in [0, 1], the share of the progress of a step along its own g̃ that a task is owed; one number,
        or T − 1 in the order of the tasks that are not primary.
      beta: β in [0, 1), decay of the running means.
      primary: index p of the primary task.
      tap: read the gradients at the tap of `task_jacobian`.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`.

    Raises:
      InputError: an argument is out of range.

    Departures from the paper: ε = 1e-8, which it adds to v̂, is 0, so that scales of the gradients play no
    role (a task with a gradient has v̂ > 0); a task with a zero gradient keeps its v̂ and its count; the QP is
    solved by an active set in place of enumerating all 2^(T−1); the primary task need not be the first.
    """
    check_num_tasks(num_tasks)
    if isinstance(primary, bool) or not isinstance(primary, int) or not 0 <= primary < num_tasks:
        raise InputError(f"primary is {primary!r}, expected the index of a task, 0 to {num_tasks - 1}")
    if known_false((beta >= 0) & (beta < 1)):
        raise InputError(f"beta is {beta!r}, expected a number in [0, 1)")
    shares = per_task("tau (of the tasks that are not primary)", tau, max(num_tasks - 1, 1))
    if known_false(((shares >= 0) & (shares <= 1)).all()):
        raise InputError(f"tau is {tau!r}, expected numbers in [0, 1]")
    every_share = [*shares[:primary], 0.0, *shares[primary : num_tasks - 1]]

    def init_fn(params):
        del params
        zeros = (jnp.zeros(num_tasks, jnp.float32) for _ in range(3))
        return PCDState(next(zeros), jnp.zeros((), jnp.float32), *zeros)

    def update_fn(updates, state, params=None, **extra):
        del params, extra

        def solve(gramian):
            cosine, norms, live = cosine_normalise(gramian)
            finite = jnp.all(jnp.isfinite(gramian))
            rms, count = _running_rms(norms, live & finite, state, beta)
            sizes = norms / jnp.where(rms > 0, rms, 1.0)
            unit = jnp.where(live[primary], sizes[primary], 1.0)
            asked = jnp.asarray(every_share, sizes.dtype) * sizes / unit
            y, residual = nearest_direction(cosine, asked, primary)
            length = y @ cosine @ y
            # What rounding of the cosines leaves of a direction that vanishes.
            moves = length > 10 * jnp.finfo(y.dtype).eps * jnp.sum(y) ** 2
            factor = norms[primary] / jnp.sqrt(jnp.where(moves, length, 1.0))
            weights = jnp.where(moves & live, factor * y / jnp.where(live, norms, 1.0), 0.0)
            shown = (jnp.where(finite, x, jnp.nan) for x in (weights, residual))
            return *shown, rms, count

        update, solution = balance(updates, solve, shared, num_tasks=num_tasks, tap=tap)
        return update, PCDState(*as_float32(solution))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _running_rms(norms: Array, seen: Array, state: PCDState, beta: float) -> tuple[Array, Array]:
    """The state's √v̂ and counts, moved on by the norms of the tasks that were seen."""
    count = jnp.where(seen, beta * state.batches + 1.0, state.batches)
    rate = 1.0 / jnp.maximum(count, 1.0)
    # Roots are kept: squares take twice the range of exponents.
    moved = jnp.hypot(jnp.sqrt(1.0 - rate) * state.rms, jnp.sqrt(rate) * norms)
    return jnp.where(seen, moved, state.rms), count


def nearest_direction(cosine: Array, asked: Array, primary: int) -> QPSolution:
    """Solves min ½‖d − u_p‖² s.t. ⟨u_j, d⟩ ≥ t_j for j ≠ p, on unit gradients u, with a certificate.

    The solution is d = u_p + Σ_j y_j u_j. With b_j = t_j − C_jp, what u_p lacks, it follows from the shortest
    vector (−z, φ) among (0, 1) − Σ_j v_j (u_j, b_j), v ≥ 0: y = v / φ, and φ = 0 where no d meets the
    constraints. That is `cone_qp` on the Gramian of (0, −1) and the (u_j, b_j).

    The residual measures, with the slack s_j = ⟨u_j, d⟩ − t_j and against Σ_i y_i,

        r = max_j [ (−s_j)₊ ,  (s_j)₊ · y_j / max_i y_i ] / Σ_i y_i

    Args:
      cosine: C `[T, T]`, with zero rows and columns for zero gradients.
      asked: t `[T]`, t ≥ 0, and t = 0 for the primary task and for zero gradients.
      primary: p.

    Returns:
      y `[T]` with y_p = 1, and r. Where no d meets the constraints, d = u_p and the r that this has. Rounding
      decides about gradients that are all but opposed: in float32 up to about half a degree.

    Reference:
      C. L. Lawson and R. J. Hanson, "Solving Least Squares Problems", 1974, chapter 23 (LDP).
    """
    eps = jnp.finfo(cosine.dtype).eps
    alone = jnp.arange(len(cosine)) == primary
    lacking = jnp.where(alone, 0.0, asked - cosine[primary])
    # In units of what is lacking most, 1/√φ is near the length of the way from u_p to d.
    most = jnp.max(lacking)
    unit = jnp.where(most > 0, most, 1.0)
    height = jnp.where(alone, -1.0, lacking / unit)
    others = jnp.where(alone[:, None] | alone[None, :], 0.0, cosine)
    lifted = others + height[:, None] * height[None, :]
    v = cone_qp(lifted, alone.astype(cosine.dtype)).weights
    phi = -(height @ v)
    feasible = phi > 32 * eps * (v @ jnp.sqrt(jnp.diagonal(lifted))) ** 2
    y = jnp.where(alone, 1.0, jnp.where(feasible, unit * v / jnp.where(feasible, phi, 1.0), 0.0))

    def solution(y):
        slack = jnp.where(alone, 0.0, cosine @ y - asked)
        violation = jnp.max(jnp.maximum(jnp.maximum(-slack, slack * y / jnp.max(y)), -y))
        return QPSolution(y, violation / jnp.sum(jnp.abs(y)))

    # The ridge of `cone_qp` leaves a few ulps of what is owed; one step of refinement pays them.
    owed = feasible & ~alone & (v > 0)
    matrix = jnp.where(owed[:, None] & owed[None, :], cosine, 0.0) + jnp.diag(jnp.where(owed, 8 * eps, 1.0))
    refined = y + jnp.linalg.solve(matrix, jnp.where(owed, asked - cosine @ y, 0.0))
    first, second = solution(y), solution(refined)
    better = (second.residual < first.residual) & jnp.all(refined >= 0)
    return QPSolution(*(jnp.where(better, b, a) for a, b in zip(first, second, strict=True)))
