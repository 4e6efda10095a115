"""MoDo: MGDA's weights by stochastic steps with two independent batches, applied to a third.

Reference:
  L. Chen et al., "Three-Way Trade-Off in Multi-Objective Learning: Optimization, Generalization and
  Conflict-Avoidance", JMLR 2024, Algorithm 1.
"""

from typing import NamedTuple

import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared, combine
from mtl.solvers import project_simplex
from mtl.types import Array
from mtl.weightings.contract import check_num_tasks, known_false, other_batches, sized_jacobian


class MoDoState(NamedTuple):
    """State of `modo`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      point: λ to go on from `[T]`.
    """

    weights: Array
    point: Array


def modo(
    num_tasks: int, *, gamma: float = 1e-3, rho: float = 0.1, shared: Shared = None
) -> optax.GradientTransformationExtraArgs:
    """Moves along J₃ᵀλ after one projected step of λ with the cross-Gramian of two other batches.

        λ ← Π(λ − γ (J₁J₂ᵀ + ρI) λ),    a = λ

    from λ = 1/T. Over independent batches J₁(J₂ᵀλ) is an unbiased gradient of ½‖E[J]ᵀλ‖², which the
    Gramian of one batch is not. γ has the unit of 1 / ‖g‖²: it depends on the scale of the losses. Cost: 2T
    backward passes and one more, and three batches.

    Args:
      num_tasks: T.
      gamma: γ > 0; 1e-3 in LibMTL, .1 in the authors' code.
      rho: ρ ≥ 0.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`. `update` needs `jacobians=(jac_1, jac_2)`, those of
      two independent batches; pass `(jac, jac)` to reuse one batch, which biases λ.

    Raises:
      InputError: an argument is out of range, or the Jacobians of the other batches are missing.
    """
    check_num_tasks(num_tasks)
    if known_false(gamma > 0) or known_false(rho >= 0):
        raise InputError(f"gamma is {gamma!r} and rho is {rho!r}, expected gamma > 0 and rho ≥ 0")

    def init_fn(params):
        del params
        point = jnp.full(num_tasks, 1.0 / num_tasks, jnp.float32)
        return MoDoState(jnp.zeros(num_tasks, jnp.float32), point)

    def update_fn(updates, state, params=None, *, jacobians=None, **extra):
        del params, extra
        cross = other_batches("modo", jacobians, num_tasks, shared)
        slope = cross @ state.point + rho * state.point
        point = project_simplex(state.point - gamma * slope)
        point = jnp.where(jnp.all(jnp.isfinite(cross)), point, jnp.nan).astype(jnp.float32)
        update = combine(sized_jacobian(updates, num_tasks), point, shared)
        return update, MoDoState(point, point + 0.0)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
