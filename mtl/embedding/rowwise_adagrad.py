"""Row-wise Adagrad: one number per row instead of one per entry."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl.types import PyTree


class RowwiseRSSState(NamedTuple):
    """State of `scale_by_rowwise_rss`.

    Attributes:
      sums: sums of mean squared gradients, leaves `[…]` without the parameter's last axis; of a leaf that is
        not row-wise, sums of squares shaped like it.
    """

    sums: PyTree


def scale_by_rowwise_rss(
    initial_accumulator_value: float = 0.1, eps: float = 1e-7, rows: Callable[[Any], bool] | None = None
) -> optax.GradientTransformation:
    """Divides every row by the root of the sum of its mean squared gradients.

        s_v ← s_v + (1/E) Σ_e g_ve²,   u_v = g_v / √(s_v + ε)

    A table needs V numbers of state, where Adagrad keeps V·E and Adam twice that.

    Args:
      initial_accumulator_value: s at the start, ≥ 0.
      eps: ε ≥ 0.
      rows: a function of a leaf's key path: whether it is row-wise; others are treated as Adagrad does. None:
        every leaf with two axes or more.

    Returns:
      The gradient transformation.

    Reference: Mudigere et al., Software-Hardware Co-design for Fast and Scalable Training of Deep Learning
      Recommendation Models, ISCA 2022, https://arxiv.org/abs/2104.05158. ε stands where optax's
      `scale_by_rss` has it, under the root.
    """

    def row_wise(path, leaf):
        return jnp.ndim(leaf) >= 2 and (rows is None or rows(path))

    def init(params):
        def start(path, leaf):
            shape = jnp.shape(leaf)[:-1] if row_wise(path, leaf) else jnp.shape(leaf)
            return jnp.full(shape, initial_accumulator_value, leaf.dtype)

        return RowwiseRSSState(jax.tree_util.tree_map_with_path(start, params))

    def update(updates, state, params=None):
        del params

        def add(path, grad, total):
            square = jnp.square(grad)
            return total + (jnp.mean(square, axis=-1) if row_wise(path, grad) else square)

        def scale(path, grad, total):
            factor = jnp.where(total > 0, jax.lax.rsqrt(total + eps), 0.0)
            return grad * (factor[..., None] if row_wise(path, grad) else factor)

        sums = jax.tree_util.tree_map_with_path(add, updates, state.sums)
        return jax.tree_util.tree_map_with_path(scale, updates, sums), RowwiseRSSState(sums)

    return optax.GradientTransformation(init, update)


def rowwise_adagrad(
    learning_rate: optax.ScalarOrSchedule,
    initial_accumulator_value: float = 0.1,
    eps: float = 1e-7,
    rows: Callable[[Any], bool] | None = None,
) -> optax.GradientTransformation:
    """Adagrad with one number of state per row, see `scale_by_rowwise_rss`.

    Args:
      learning_rate: a number or a schedule.
      initial_accumulator_value: see there.
      eps: see there.
      rows: see there.

    Returns:
      The optimiser.
    """
    return optax.chain(
        scale_by_rowwise_rss(initial_accumulator_value, eps, rows),
        optax.scale_by_learning_rate(learning_rate),
    )
