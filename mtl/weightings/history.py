"""Gradients of the past, for the weightings that must keep them: T times the size of the shared leaves."""

import jax
import jax.numpy as jnp

from mtl.jacobian import Shared, shared_leaves, shared_mask
from mtl.types import Array, PyTree, widened


def zeros_per_task(params: PyTree, num_tasks: int, shared: Shared) -> PyTree:
    """Returns zeros `[T, *shape]` float32 for shared leaves, and a single zero for each of the others.

    Not an empty array: XLA places those as it likes, and a sweep's programs refuse what is not where they
    expect it.
    """
    mask = shared_mask(params, shared)
    return jax.tree.map(lambda p, keep: jnp.zeros((num_tasks, *p.shape) if keep else ()), params, mask)


def map_shared(function, mask: PyTree, first: PyTree, *rest: PyTree) -> PyTree:
    """Applies a function to the leaves that tasks share; the others stay as in `first`."""
    return jax.tree.map(lambda keep, x, *others: function(x, *others) if keep else x, mask, first, *rest)


def scale_rows(leaf: Array, factors: Array) -> Array:
    """Multiplies row t of a leaf `[T, *shape]` by factor t, in float32 or wider."""
    wide = widened(leaf)
    return wide * factors.reshape(-1, *[1] * (leaf.ndim - 1)).astype(wide.dtype)


def squared_norms(stacked: PyTree, shared: Shared) -> Array:
    """Returns ‖g_t‖² over the shared leaves `[T]`, float32 or wider."""
    return sum(
        (jnp.sum(jnp.square(widened(x)), axis=range(1, x.ndim)) for x in shared_leaves(stacked, shared)),
        start=jnp.zeros(()),
    )
