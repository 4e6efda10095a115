"""SDMGrad: MGDA regularised towards the mean gradient, with unbiased cross-Gramians of two batches.

Reference:
  P. Xiao, H. Ban and K. Ji, "Direction-Oriented Multi-Objective Learning: Simple and Provable Stochastic
  Algorithms", NeurIPS 2023, eqs. (5)–(6) and Algorithm 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared, combine
from mtl.solvers import project_simplex
from mtl.types import Array
from mtl.weightings.contract import check_num_tasks, known_false, other_batches, sized_jacobian
from mtl.weightings.upgrad import positive_preference


class SDMGradState(NamedTuple):
    """State of `sdmgrad`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      point: w to go on from `[T]`.
    """

    weights: Array
    point: Array


def sdmgrad(
    num_tasks: int,
    *,
    lam: float = 0.3,
    learning_rate: float = 10.0,
    momentum: float = 0.5,
    iterations: int = 20,
    preference: float | Sequence[float] | None = None,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Moves along J₃ᵀ(w + λp) / (1 + λ), with w near argmin ½‖Jᵀ(w + λp)‖² over the simplex.

        A = J₁J₂ᵀ / (mean_i √(A_ii)₊)²;   repeat:  v ← m v + A (w + λp),   w ← Π(w − η v)

    w goes on from the step before, v starts at 0 in every step. λ → ∞ is the preferred combination, λ = 0
    MGDA. The iteration converges for η < 2 (1 + m) / λ_max(A), and A has a diagonal near 1: with the
    published η = 10 it does not, w jumps between the corners of the simplex, and rounding decides where it
    ends. A smaller η with more iterations approaches the optimum. Cost: 2T backward passes and one more,
    and three batches.

    Args:
      num_tasks: T.
      lam: λ ≥ 0; .3 in the authors' runs, .6 as their code's default.
      learning_rate: η > 0; 10 in the authors' code, 5 in LibMTL.
      momentum: m in [0, 1).
      iterations: inner steps; 20.
      preference: p > 0, one number or T; None for 1/T.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`. `update` needs `jacobians=(jac_1, jac_2)`, those of
      two independent batches; pass `(jac, jac)` to reuse one batch, which biases w.

    Raises:
      InputError: an argument is out of range, or the Jacobians of the other batches are missing.

    Departures from the authors' code: its three gradient buffers are one object, so that it runs with J₁ =
    J₂ = J₃; here they are three. Nothing absolute (1e-8) is added to the scale of A.
    """
    check_num_tasks(num_tasks)
    momentum_fits = (momentum >= 0) & (momentum < 1)
    if any(map(known_false, (lam >= 0, learning_rate > 0, momentum_fits))):
        raise InputError(
            f"lam, learning_rate and momentum are {(lam, learning_rate, momentum)!r}, expected ≥ 0, > 0 and "
            "in [0, 1)"
        )
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
        raise InputError(f"iterations is {iterations!r}, expected an integer of at least 1")
    positive_preference(preference, num_tasks)

    def init_fn(params):
        del params
        point = jnp.full(num_tasks, 1.0 / num_tasks, jnp.float32)
        return SDMGradState(jnp.zeros(num_tasks, jnp.float32), point)

    def update_fn(updates, state, params=None, *, jacobians=None, **extra):
        del params, extra
        cross = other_batches("sdmgrad", jacobians, num_tasks, shared)
        p = positive_preference(preference, num_tasks).astype(cross.dtype)
        size = jnp.mean(jnp.sqrt(jnp.maximum(jnp.diagonal(cross), 0.0)))
        # Two divisions: the square of a small norm would underflow.
        unit = jnp.where(size > 0, size, 1.0)
        scaled = cross / unit / unit

        def inner(_, carry):
            w, v = carry
            v = momentum * v + scaled @ (w + lam * p)
            return project_simplex(w - learning_rate * v), v

        start = (state.point.astype(cross.dtype), jnp.zeros_like(p))
        w, _ = jax.lax.fori_loop(0, iterations, inner, start)
        w = jnp.where(jnp.all(jnp.isfinite(cross)), w, jnp.nan)
        weights = (w + lam * p) / (1.0 + lam)
        update = combine(sized_jacobian(updates, num_tasks), weights, shared)
        return update, SDMGradState(weights.astype(jnp.float32), w.astype(jnp.float32))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
