"""DB-MTL: gradients of the logarithms of the losses, smoothed and brought to one length.

Reference:
  B. Lin et al., "Dual-Balancing for Multi-Task Learning", arXiv 2308.12029, Algorithm 1.
"""

from typing import NamedTuple

import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared, StackedJacobian, select, shared_mask
from mtl.types import Array, PyTree
from mtl.weightings.contract import (
    balance,
    check_losses,
    check_num_tasks,
    known_false,
    positive,
    sized_jacobian,
)
from mtl.weightings.history import map_shared, scale_rows, squared_norms, zeros_per_task


class DBMTLState(NamedTuple):
    """State of `db_mtl`.

    Attributes:
      weights: the weights that the present gradients had in the last update `[T]` float32.
      average: m, per shared leaf `[T, *shape]`; () with β = 0.
      step: updates so far `[]` int32.
    """

    weights: Array
    average: PyTree
    step: Array


def db_mtl(
    num_tasks: int,
    *,
    beta: float = 0.9,
    sigma: float = 0.0,
    tap: bool = False,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Adds up unit vectors along the running means of ∇ log L_t, at the length of the longest mean.

        g̃_t = ∇L_t / L_t;   m_t ← β_k m_t + (1 − β_k) g̃_t,   β_k = β / k^σ;
        x = max_j ‖m_j‖ · Σ_t m_t / ‖m_t‖

    m starts at 0 and is not corrected for it, so the first steps are short. With β = 0 the Gramian is all
    it needs. A task without rows (loss exactly 0) keeps its m. Cost: T backward passes; memory T times the
    shared leaves for β > 0.

    Args:
      num_tasks: T.
      beta: β in [0, 1).
      sigma: σ ≥ 0.
      tap: read the gradients at the tap of `task_jacobian`; for β = 0 only.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`. `update` needs `losses=`.

    Raises:
      InputError: an argument is out of range.

    Departures from the paper: private leaves get ∇L_t, not ∇ log L_t; losses and norms have no 1e-8 added.
    """
    check_num_tasks(num_tasks)
    if known_false((beta >= 0) & (beta < 1)) or known_false(sigma >= 0):
        raise InputError(f"beta is {beta!r} and sigma is {sigma!r}, expected beta in [0, 1) and sigma ≥ 0")
    averages = not known_false(beta > 0)
    if tap and averages:
        raise InputError("db_mtl with beta > 0 averages gradients of the parameters; tap needs beta = 0")

    def init_fn(params):
        average = zeros_per_task(params, num_tasks, shared) if averages else ()
        return DBMTLState(jnp.zeros(num_tasks, jnp.float32), average, jnp.zeros((), jnp.int32))

    def update_fn(updates, state, params=None, *, losses, **extra):
        del params, extra
        values, rows = positive(check_losses(losses, num_tasks))
        step = optax.safe_increment(state.step)
        if not averages:

            def solve(gramian):
                norms = jnp.sqrt(jnp.diagonal(gramian)) / values.astype(gramian.dtype)
                factors = _equal_lengths(jnp.where(rows, norms, 0.0)) / values.astype(gramian.dtype)
                finite = jnp.all(jnp.isfinite(gramian))
                return (jnp.where(finite, jnp.where(rows, factors, 0.0), jnp.nan),)

            update, (weights,) = balance(updates, solve, shared, num_tasks=num_tasks, tap=tap)
            return update, DBMTLState(weights.astype(jnp.float32), (), step)

        jac = sized_jacobian(updates, num_tasks)
        stacked = jac.stacked()
        mask = shared_mask(stacked, shared)
        keep = jnp.where(rows, beta / step.astype(jnp.float32) ** sigma, 1.0)

        def average(old, g):
            new = scale_rows(old, keep) + scale_rows(g, (1.0 - keep) / values)
            return new.astype(old.dtype)

        m = map_shared(average, mask, state.average, stacked)
        factors = _equal_lengths(jnp.sqrt(squared_norms(m, shared)))
        cast = map_shared(lambda x, g: scale_rows(x, factors).astype(g.dtype), mask, m, stacked)
        update = StackedJacobian(select(mask, cast, stacked)).pullback(jnp.ones(num_tasks))
        weights = jnp.where(rows, factors * (1.0 - keep) / values, 0.0)
        return update, DBMTLState(weights.astype(jnp.float32), m, step)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _equal_lengths(norms: Array) -> Array:
    """Factors that bring vectors of these norms to the largest one; 0 for zero vectors."""
    live = norms > 0
    factors = jnp.max(norms) / jnp.where(live, norms, 1.0)
    return jnp.where(jnp.all(jnp.isfinite(norms)), jnp.where(live, factors, 0.0), jnp.nan)
