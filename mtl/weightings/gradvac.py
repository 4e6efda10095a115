"""GradVac: gradients that are less similar than usual are turned towards each other.

Reference:
  Z. Wang et al., "Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively
  Multilingual Models", ICLR 2021, eqs. (2)–(3) and Algorithm 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared
from mtl.solvers import cosine_normalise
from mtl.types import Array
from mtl.weightings.contract import balance, check_num_tasks, fresh_key, known_false, split_key
from mtl.weightings.pcgrad import random_orders


class GradVacState(NamedTuple):
    """State of `gradvac`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      target: φ̂_ij, running mean of the cosine between x⁽ⁱ⁾ and g_j `[T, T]`, from 0.
      key: raw data of the random key `[2]` uint32.
    """

    weights: Array
    target: Array
    key: Array


def gradvac(
    num_tasks: int,
    *,
    beta: float = 0.5,
    seed: int = 0,
    tap: bool = False,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Raises the cosine of every pair of gradients to its running mean, in random order, and adds up.

        for each i:  x = g_i;  for j ≠ i in random order, with φ = cos(x, g_j):
          if φ < φ̂_ij:  x += ‖x‖ (φ̂ √(1−φ²) − φ √(1−φ̂²)) / (‖g_j‖ √(1−φ̂²)) g_j
          φ̂_ij ← (1−β) φ̂_ij + β φ                  (always, with the φ before the correction)

    Its first step is PCGrad with the same orders. Tasks with a zero gradient are left alone, and their φ̂
    too. Cost: T backward passes; with a tap T through the heads and one full.

    Args:
      num_tasks: T.
      beta: β in [0, 1]. The paper has 1e-2 with one φ̂ per layer, LibMTL and TorchJD .5 for whole models.
      seed: of the key in the state; `with_key` puts another one in.
      tap: read the gradients at the tap of `task_jacobian`.
      shared: the leaves that are balanced, as one block; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`.

    Raises:
      InputError: an argument is out of range.

    Departures from the paper: one block for all shared leaves, not one per layer.
    """
    check_num_tasks(num_tasks)
    if known_false((beta >= 0) & (beta <= 1)):
        raise InputError(f"beta is {beta!r}, expected a number in [0, 1]")

    def init_fn(params):
        del params
        return GradVacState(
            jnp.zeros(num_tasks, jnp.float32), jnp.zeros((num_tasks, num_tasks), jnp.float32), fresh_key(seed)
        )

    def update_fn(updates, state, params=None, **extra):
        del params, extra
        now, later = split_key(state.key)

        def solve(gramian):
            cosine, norms, live = cosine_normalise(gramian)
            orders = random_orders(now, num_tasks)
            total, target = vaccinate(cosine, norms, live, orders, state.target, beta)
            weights = jnp.where(live, total / jnp.where(live, norms, 1.0), 1.0)
            finite = jnp.all(jnp.isfinite(gramian))
            return jnp.where(finite, weights, jnp.nan), target

        update, (weights, target) = balance(updates, solve, shared, num_tasks=num_tasks, tap=tap)
        return update, GradVacState(weights.astype(jnp.float32), target.astype(jnp.float32), later)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def vaccinate(
    cosine: Array, norms: Array, live: Array, orders: Array, target: Array, beta: float
) -> tuple[Array, Array]:
    """One round of Algorithm 1 on unit gradients.

    Args:
      cosine: C `[T, T]`.
      norms: d `[T]`.
      live: which gradients are not zero `[T]` bool.
      orders: the order in which task i meets the others, row i `[T, T]`.
      target: φ̂ `[T, T]`.
      beta: β.

    Returns:
      Coefficients of Σ_i d_i x⁽ⁱ⁾ on the unit gradients `[T]`, and the new φ̂.
    """
    size = cosine.shape[-1]
    rows = jnp.arange(size)
    target = target.astype(cosine.dtype)

    def meet(carry, others):
        coefficients, target = carry
        length = jnp.sqrt(jnp.maximum(jnp.sum(coefficients * (coefficients @ cosine), axis=-1), 0.0))
        along = jnp.einsum("ij,ij->i", coefficients, cosine[others])
        both = (others != rows) & live & live[others]
        phi = jnp.clip(along / jnp.where(length > 0, length, 1.0), -1.0, 1.0)
        goal = target[rows, others]
        low = both & (phi < goal)
        opening = jnp.sqrt(jnp.maximum(1.0 - goal**2, jnp.finfo(cosine.dtype).eps))
        step = length * (goal * jnp.sqrt(1.0 - phi**2) - phi * opening) / opening
        coefficients = coefficients.at[rows, others].add(jnp.where(low, step, 0.0))
        moved = jnp.where(both, (1.0 - beta) * goal + beta * phi, goal)
        return (coefficients, target.at[rows, others].set(moved)), None

    start = (jnp.eye(size, dtype=cosine.dtype), target)
    (coefficients, target), _ = jax.lax.scan(meet, start, orders.T)
    return norms @ coefficients, target
