"""MoCo: MGDA on tracked gradients, with weights that move by projected gradient steps.

Reference:
  H. Fernando et al., "Mitigating Gradient Bias in Multi-objective Learning: A Provably Convergent
  Approach", ICLR 2023, Algorithm 1.
"""

from typing import NamedTuple

import jax.numpy as jnp
import optax

from mtl.errors import InputError, unknown_name
from mtl.jacobian import Shared, StackedJacobian, gramian, select, shared_mask
from mtl.solvers import project_simplex
from mtl.types import Array, PyTree
from mtl.weightings.contract import check_losses, check_num_tasks, known_false, sized_jacobian
from mtl.weightings.history import map_shared, scale_rows, squared_norms, zeros_per_task

NORMALIZERS = ("none", "unit", "loss")


class MoCoState(NamedTuple):
    """State of `moco`.

    Attributes:
      weights: λ, the weights on the tracked gradients `[T]` float32.
      point: λ to go on from `[T]`.
      tracked: Y, per shared leaf `[T, *shape]`.
      step: updates so far `[]` int32.
    """

    weights: Array
    point: Array
    tracked: PyTree
    step: Array


def moco(
    num_tasks: int,
    *,
    beta: float = 0.5,
    beta_decay: float = 0.5,
    gamma: float = 0.1,
    gamma_decay: float = 0.5,
    rho: float = 0.0,
    normalizer: str = "loss",
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Moves along Yᵀλ, where Y tracks the gradients and λ moves towards MGDA's weights for Y.

        y_t ← y_t − β_k (y_t − g_t),   β_k = β / k^(β_decay)
        λ ← Π(λ − γ_k (YYᵀ + ρI) λ),   γ_k = γ / k^(γ_decay)     (Π: projection on the simplex)

    from y = 0 and λ = 1/T, each update with the values just found. A task with a zero gradient keeps its y
    in that step. Cost: T backward passes, memory T times the shared leaves.

    Args:
      num_tasks: T.
      beta: β in (0, 1].
      beta_decay: ≥ 0.
      gamma: γ > 0.
      gamma_decay: ≥ 0.
      rho: ρ ≥ 0.
      normalizer: what g is replaced by: `none` g, `unit` g / ‖g‖, `loss` L g / ‖g‖ (LibMTL). γ has the
        unit of 1 / ‖g‖², so only `unit` is free of scales.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`. `update` needs `losses=` for the normaliser `loss`.

    Raises:
      InputError: an argument is out of range.

    Departures from the paper: the order of the three updates follows the authors' code; defaults and the
    normaliser are LibMTL's, which however applies a softmax to λ in place of the projection, and so pulls
    it to equal weights at every step.
    """
    check_num_tasks(num_tasks)
    if known_false((beta > 0) & (beta <= 1)) or known_false(gamma > 0):
        raise InputError(f"beta is {beta!r} and gamma is {gamma!r}, expected beta in (0, 1] and gamma > 0")
    if any(known_false(x >= 0) for x in (beta_decay, gamma_decay, rho)):
        raise InputError(
            f"beta_decay, gamma_decay and rho are {(beta_decay, gamma_decay, rho)!r}, expected numbers ≥ 0"
        )
    if normalizer not in NORMALIZERS:
        raise unknown_name("MoCo normalizer", normalizer, NORMALIZERS)

    def init_fn(params):
        return MoCoState(
            weights=jnp.zeros(num_tasks, jnp.float32),
            point=jnp.full(num_tasks, 1.0 / num_tasks, jnp.float32),
            tracked=zeros_per_task(params, num_tasks, shared),
            step=jnp.zeros((), jnp.int32),
        )

    def update_fn(updates, state, params=None, *, losses=None, **extra):
        del params, extra
        stacked = sized_jacobian(updates, num_tasks).stacked()
        mask = shared_mask(stacked, shared)
        step = optax.safe_increment(state.step)
        k = step.astype(jnp.float32)
        norms = jnp.sqrt(squared_norms(stacked, shared))
        live = norms != 0
        factors = jnp.ones(num_tasks) if normalizer == "none" else 1.0 / jnp.where(live, norms, 1.0)
        if normalizer == "loss":
            if losses is None:
                raise InputError("moco with normalizer 'loss' needs losses= in update")
            factors = factors * check_losses(losses, num_tasks)
        rate = jnp.where(live, beta / k**beta_decay, 0.0)

        def track(y, g):
            return (scale_rows(y, 1.0 - rate) + scale_rows(g, rate * factors)).astype(y.dtype)

        tracked = map_shared(track, mask, state.tracked, stacked)
        slope = gramian(tracked, shared) @ state.point + rho * state.point
        point = project_simplex(state.point - gamma / k**gamma_decay * slope)
        point = jnp.where(jnp.all(jnp.isfinite(slope)), point, jnp.nan)
        cast = map_shared(lambda y, g: scale_rows(y, point).astype(g.dtype), mask, tracked, stacked)
        update = StackedJacobian(select(mask, cast, stacked)).pullback(jnp.ones(num_tasks))
        weights = point.astype(jnp.float32)
        return update, MoCoState(weights, weights + 0.0, tracked, step)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
