"""Choosing, row by row, the output of the row's own scenario."""

import jax.numpy as jnp

from mtl.types import Array


def of_domain(outputs: Array, domain: Array) -> Array:
    """Takes from the outputs of all scenarios that of every row's own.

    Computing all of them is the price of batches that mix scenarios: S small products instead of one gather
    of a kernel per row.

    Args:
      outputs: `[*stack, S, B, H]`.
      domain: scenarios `[B]` in [0, S).

    Returns:
      `[*stack, B, H]`.
    """
    index = domain.reshape(*(1,) * (outputs.ndim - 2), -1, 1)
    return jnp.take_along_axis(outputs, index, axis=-3)[..., 0, :, :]
