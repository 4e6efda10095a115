"""GradDrop: every coordinate keeps the gradients of one sign, drawn by how much the signs agree.

Reference:
  Z. Chen et al., "Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout", NeurIPS
  2020, eq. (1) and Algorithm 1.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared, StackedJacobian, select, shared_mask
from mtl.types import Array, widened
from mtl.weightings.contract import (
    check_num_tasks,
    fresh_key,
    known_false,
    per_task,
    sized_jacobian,
    split_key,
)


class GradDropState(NamedTuple):
    """State of `graddrop`.

    Attributes:
      weights: share of each gradient that was kept, Σ|kept| / Σ|g| over the shared leaves `[T]` float32.
      key: raw data of the random key `[2]` uint32.
    """

    weights: Array
    key: Array


def graddrop(
    num_tasks: int, *, leak: float | Sequence[float] = 0.0, seed: int = 0, shared: Shared = None
) -> optax.GradientTransformationExtraArgs:
    """Keeps, coordinate by coordinate, the positive or the negative gradients, and adds them up.

        P = ½ (1 + Σ_t g_t / Σ_t |g_t|),   U ~ uniform(0, 1), one per coordinate
        x = Σ_t (ℓ_t + (1 − ℓ_t) M_t) g_t,   M_t = [U < P] for g_t > 0,  [U ≥ P] for g_t < 0

    On average over U it is the plain sum of the gradients. Cost: T backward passes.

    Args:
      num_tasks: T.
      leak: ℓ in [0, 1], the share of a gradient that always passes; one number or T.
      seed: of the key in the state; `with_key` puts another one in.
      shared: the leaves that are masked; the others get their own task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`. Its `weights` are a report, not factors: the
      update is not a combination of the gradients.

    Raises:
      InputError: an argument is out of range.

    Departures from the paper: the masks are drawn for the parameters' gradients, as TorchJD does, not for
    the activations of one layer.
    """
    check_num_tasks(num_tasks)
    passes = per_task("leak", leak, num_tasks)
    if known_false(((passes >= 0) & (passes <= 1)).all()):
        raise InputError(f"leak is {leak!r}, expected numbers in [0, 1]")

    def init_fn(params):
        del params
        return GradDropState(jnp.zeros(num_tasks, jnp.float32), fresh_key(seed))

    def update_fn(updates, state, params=None, **extra):
        del params, extra
        stacked = sized_jacobian(updates, num_tasks).stacked()
        mask = shared_mask(stacked, shared)
        now, later = split_key(state.key)
        treedef: Any = jax.tree.structure(stacked)
        keys = treedef.unflatten(list(jax.random.split(now, treedef.num_leaves)))
        masked = jax.tree.map(lambda g, key: _drop(g, key, passes), stacked, keys)
        update = StackedJacobian(select(mask, masked, stacked)).pullback(jnp.ones(num_tasks))
        kept, all_of_it = (_absolute_sum(tree, mask) for tree in (masked, stacked))
        weights = jnp.where(all_of_it == 0, 0.0, kept / jnp.where(all_of_it == 0, 1.0, all_of_it))
        return update, GradDropState(weights.astype(jnp.float32), later)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _drop(gradients: Array, key: Array, leak: np.ndarray | Array) -> Array:
    g = widened(gradients)
    size = jnp.sum(jnp.abs(g), axis=0)
    purity = 0.5 * (1.0 + jnp.sum(g, axis=0) / jnp.where(size == 0, 1.0, size))
    positive = jax.random.uniform(key, g.shape[1:], jnp.float32) < purity
    keep = jnp.where(g > 0, positive, ~positive)
    through = jnp.asarray(leak, g.dtype).reshape(-1, *[1] * (g.ndim - 1))
    out = (through + (1.0 - through) * keep) * g
    return jnp.where(jnp.isfinite(size), out, jnp.nan).astype(gradients.dtype)


def _absolute_sum(tree, mask) -> Array:
    sums = jax.tree.map(
        lambda x, keep: jnp.sum(jnp.abs(x.astype(jnp.float32)), axis=range(1, x.ndim)) if keep else 0.0,
        tree,
        mask,
    )
    return sum(jax.tree.leaves(sums), start=jnp.zeros(()))
