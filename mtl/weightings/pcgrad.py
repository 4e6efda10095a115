"""PCGrad: each gradient loses what opposes another one, in random order.

Reference:
  T. Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, Algorithm 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl.errors import unknown_name
from mtl.jacobian import Shared
from mtl.solvers import cosine_normalise
from mtl.types import Array
from mtl.weightings.contract import balance, check_num_tasks, fresh_key, split_key

REDUCTIONS = ("sum", "mean")


class PCGradState(NamedTuple):
    """State of `pcgrad`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      key: raw data of the random key `[2]` uint32.
    """

    weights: Array
    key: Array


def pcgrad(
    num_tasks: int | None = None,
    *,
    reduction: str = "sum",
    seed: int = 0,
    tap: bool = False,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Projects every gradient, one conflict after the other, on the normal plane of the other one.

        for each i:  x = g_i;  for j ≠ i in random order:  if ⟨x, g_j⟩ < 0:  x −= ⟨x, g_j⟩ / ‖g_j‖² g_j

    and adds the results up. With coefficients c of x on the gradients, ⟨x, g_j⟩ = (Gc)_j, so G is all it
    needs. Non-conflicting for T = 2 only, where it equals UPGrad with p = 1. Tasks with a zero gradient
    are left alone. Cost: T backward passes; with a tap T through the heads and one full.

    Args:
      num_tasks: T; needed inside `scan`, where the state's shape must not change.
      reduction: `sum`, as in the paper, or `mean`.
      seed: of the key in the state; `with_key` puts another one in.
      tap: read the gradients at the tap of `task_jacobian`.
      shared: the leaves that are balanced; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`.

    Raises:
      InputError: an argument is not one of those named.
    """
    check_num_tasks(num_tasks, required=False)
    if reduction not in REDUCTIONS:
        raise unknown_name("PCGrad reduction", reduction, REDUCTIONS)

    def init_fn(params):
        del params
        return PCGradState(jnp.zeros(num_tasks or 0, jnp.float32), fresh_key(seed))

    def update_fn(updates, state, params=None, **extra):
        del params, extra
        now, later = split_key(state.key)

        def solve(gramian):
            size = len(gramian)
            cosine, norms, live = cosine_normalise(gramian)
            total = project_in_turn(cosine, random_orders(now, size), norms)
            weights = jnp.where(live, total / jnp.where(live, norms, 1.0), 1.0)
            weights = weights / size if reduction == "mean" else weights
            return (jnp.where(jnp.all(jnp.isfinite(gramian)), weights, jnp.nan),)

        update, (weights,) = balance(updates, solve, shared, num_tasks=num_tasks, tap=tap)
        return update, PCGradState(weights.astype(jnp.float32), later)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def random_orders(key: Array, num_tasks: int) -> Array:
    """Returns a random order of all tasks for each of them, row by row `[T, T]` int32."""
    keys = jax.random.split(key, num_tasks)
    return jax.vmap(lambda k: jax.random.permutation(k, num_tasks))(keys)


def project_in_turn(cosine: Array, orders: Array, norms: Array) -> Array:
    """Runs the projections on unit gradients and adds up Σ_i d_i x⁽ⁱ⁾.

    Args:
      cosine: C `[T, T]`.
      orders: the order in which task i meets the others, row i `[T, T]`.
      norms: d `[T]`.

    Returns:
      Coefficients of the sum on the unit gradients `[T]`.
    """
    size = cosine.shape[-1]
    rows = jnp.arange(size)

    def meet(coefficients, others):
        along = jnp.einsum("ij,ij->i", coefficients, cosine[others])
        opposed = (along < 0) & (others != rows)
        return coefficients.at[rows, others].add(jnp.where(opposed, -along, 0.0)), None

    coefficients, _ = jax.lax.scan(meet, jnp.eye(size, dtype=cosine.dtype), orders.T)
    return norms @ coefficients
