"""A stack of dense layers, run as one batched product."""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from mtl.types import Array

RELU_GAIN = 2.0
"""Variance gain before a ReLU (He et al. 2015, https://arxiv.org/abs/1502.01852, Eq. 10)."""


def stacked_matmul(x: Array, kernel: Array) -> Array:
    """Multiplies rows by every kernel of a stack in one `dot_general`.

    `y[s, r, b] = x[s, b] @ kernel[s, r]`, where `s` runs over the stack axes that `x` has too and `r`
    over those that it lacks. An `x` without stack axes is read once, never copied per kernel.

    Args:
      x: `[*S, B, m]`.
      kernel: `[*S, *R, m, n]`; S and R may each be empty.

    Returns:
      `[*S, *R, B, n]`.
    """
    return jnp.moveaxis(_rows_first(x, kernel), x.ndim - 2, -2)


def _rows_first(x: Array, kernel: Array) -> Array:
    """`stacked_matmul` as the product leaves it, `[*S, B, *R, n]`."""
    stack = tuple(range(x.ndim - 2))
    contract = ((x.ndim - 1,), (kernel.ndim - 2,))
    return jax.lax.dot_general(x, kernel, (contract, (stack, stack)))


def _side_by_side(parts: Sequence[Array], kernel: Array) -> Array:
    """`_rows_first` of parts `[*S, B_i, m_i]` side by side, the rows of shorter ones repeated."""
    bounds = np.cumsum([part.shape[-1] for part in parts])[:-1]
    most = max(part.shape[-2] for part in parts)
    products = [
        jnp.repeat(_rows_first(part, own), most // part.shape[-2], axis=part.ndim - 2)
        for part, own in zip(parts, jnp.split(kernel, bounds, axis=-2), strict=True)
    ]
    return functools.reduce(jnp.add, products)


def stacked_init(num_stack_axes: int, gain: float = 1.0) -> Initializer:
    """Returns an initialiser that draws every kernel of a stack on its own, at its own fan-in.

    Entries are truncated normal with variance `gain / m` for kernels `[*stack, m, n]`: the fan-in is
    that of one kernel, not of the stack, and no two kernels start equal.

    Args:
      num_stack_axes: number of leading axes that index the stack.
      gain: variance gain; `RELU_GAIN` before a ReLU, 1 before a linear output.

    Returns:
      A function `(key, shape, dtype) -> kernel`.
    """
    return nn.initializers.variance_scaling(
        gain, "fan_in", "truncated_normal", batch_axis=tuple(range(num_stack_axes))
    )


class StackedDense(nn.Module):
    """Dense layers with a leading stack of independent kernels, `y_s = x_s W_s + b_s`.

    Attributes:
      stack: sizes of the stack axes, such as `(E,)` for experts or `(T, m)` for experts per task.
      features: output units n of each layer.
      gain: variance gain of the initial kernels, see `stacked_init`.
      use_bias: whether to add `b`.
      relu: whether a ReLU follows.
      dtype: dtype of the computation; parameters are float32.
    """

    stack: tuple[int, ...]
    features: int
    gain: float = 1.0
    use_bias: bool = True
    relu: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *others: Array) -> Array:
        """Applies the layers.

        Args:
          x: `[*S, B, m]` where S is a prefix of `stack`; `[B, m]` feeds the same rows to all layers.
          others: further inputs `[*S, B', m']` that stand beside it, `y_s = [x ; x' ; …]_s W_s + b_s`, but
            are not copied there. A row of one with B' = B / L rows stands for L successive ones, and is
            multiplied once.

        Returns:
          `[*stack, B, features]` in `dtype`.
        """
        parts = [part.astype(self.dtype) for part in (x, *others)]
        kernel = self.param(
            "kernel",
            stacked_init(len(self.stack), self.gain),
            (*self.stack, sum(part.shape[-1] for part in parts), self.features),
            jnp.float32,
        )
        # Bias and ReLU before the rows move: a mixture moves them back, and XLA then cancels both moves.
        y = _side_by_side(parts, kernel.astype(self.dtype))
        rows = x.ndim - 2
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (*self.stack, self.features), jnp.float32)
            y = y + jnp.expand_dims(bias.astype(self.dtype), rows)
        if self.relu:
            y = nn.relu(y)
        return jnp.moveaxis(y, rows, -2)
